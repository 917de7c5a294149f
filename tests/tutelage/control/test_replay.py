"""Every decision on record, decided again from the pairs and judgements in the store alone."""

import random

import pytest

from router.rollout import Rollout, step
from router.types import Arm
from scoring.gates import controller
from scoring.gates.facts import ALL_WELL
from tests.tutelage.control.conftest import Site
from tests.tutelage.control.made import ROUTE
from tests.tutelage.control.test_loop import rollout_of, traffic
from tutelage.contracts.records import Decision, Epoch, Judgement, Unit
from tutelage.control.decide import REFUSAL
from tutelage.control.units import of_requests
from tutelage.store.base import Scored


def judged(site: Site, draw: random.Random) -> None:
    site.store.judged(
        [
            Judgement(
                pair_id=claim.pair.id,
                rubric="exact@1",
                method="check",
                scores=(),
                d=draw.choice([-0.25, 0.0, 0.0, 0.3]),
                scored_at=site.now,
            )
            for claim in site.store.claim("w", 10_000, 60.0, site.now)
        ]
    )


def folded_units(site: Site) -> list[Unit]:
    """The units that were folded, in order, made of the store's pairs and judgements."""
    pairs = sorted(site.store.pairs(ROUTE, 100_000), key=lambda pair: (pair.admitted_at, pair.id))
    scored = [
        Scored(order=n, pair=pair, judgement=site.store.judgements(pair.id)[0])
        for n, pair in enumerate(pairs)
        if pair.excluded is None
    ]
    return list(of_requests(scored).units)


def replayed(decisions: list[Decision], units: list[Unit], rollout: Rollout, epoch: Epoch) -> int:
    """Decide each again where it was made, after as many units as it had seen; how many were the same."""
    state, again, left = controller.initial(rollout, epoch), 0, list(units)
    for recorded in decisions:
        seen = {cell.cell.split(":")[0]: cell.n for cell in recorded.cells}
        while left and (
            state.overall.evidence.units < seen["forward/all/quality"] or state.fresh.evidence.units != seen["fresh"]
        ):
            state = controller.fold(state, left.pop(0), rollout, epoch)
        ruling = controller.decide(state, rollout, epoch, ALL_WELL, recorded.at)
        assert ruling.event is not None, recorded.reason
        assert type(ruling.event).__name__ == recorded.event
        assert ruling.reason == recorded.reason
        for ours, theirs in zip(ruling.cells, recorded.cells, strict=True):
            assert (ours.cell, ours.n, ours.histogram_digest) == (theirs.cell, theirs.n, theirs.histogram_digest)
            assert ours.log_e == pytest.approx(theirs.log_e, abs=1e-9)
        assert ruling.detectors == pytest.approx(recorded.detectors, rel=1e-9)
        rollout, _ = step(rollout, ruling.event)
        again += 1
    return again


def test_every_decision_is_found_again_from_what_the_store_holds(site: Site):
    site.tick()
    begun, draw = rollout_of(site), random.Random(7)
    snapshot = site.store.snapshot()
    assert snapshot is not None
    for number in range(16):
        traffic(site, 50, f"f{number}", Arm.TEACHER)
        if rollout_of(site).rung > 0:
            traffic(site, 50, f"r{number}", Arm.STUDENT)
        site.tick()
        judged(site, draw)
        site.tick()
    history = [one for one in reversed(site.store.history(ROUTE, 1_000)) if one.event != REFUSAL and one.cells]
    assert [one.event for one in history].count("Advance") == 2
    again = replayed(history, folded_units(site), begun, snapshot.epochs[ROUTE])
    assert again == len(history)
