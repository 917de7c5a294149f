"""Routes whose unit is a conversation, over a real store: what waits for its end, what does not, and that it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from router.types import Arm
from scoring.evidence import POOLED
from scoring.gates.streams import AT_ONCE
from tests.tutelage.control.conftest import Site, built
from tests.tutelage.control.made import ROUTE, exchange, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_loop import rollout_of
from tutelage.contracts.decisions import IDLE_S
from tutelage.contracts.pairs import Judgement, Outcome
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.control import gates
from tutelage.control.metrics import Metrics
from tutelage.control.replay import Found, replay
from tutelage.control.units import UNIT_TURNS
from tutelage.store.registry import open_store

FAULT = {"error": Outcome(teacher=0, student=1)}
NO_FAULT = {"error": Outcome(teacher=0, student=0)}


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Site]:
    """A control whose route counts conversations; the worker is played by hand."""
    store, metrics = open_store(f"sqlite:///{tmp_path}/tutelage.db"), Metrics()
    site = Site(data_dir=tmp_path, store=store, loop=None, metrics=metrics, now=1_790_000_000.0)  # type: ignore[arg-type]
    site.loop = built(tmp_path, store, metrics, lambda: site.now, unit="conversation")
    site.tick()
    yield site
    store.close()


def turns(site: Site, count: int, key: str, outcomes: dict[str, Outcome], d: float | None = 0.0) -> None:
    """`count` turns of one user, admitted now, joined and judged."""
    now, records = rollout_of(site), list[Exchange | ShadowAttempt]()
    for number in range(count):
        made = exchange(
            f"{key}-{site.now}-{number:03}", Arm.TEACHER, admitted_at=site.now + number / 1000, conversation=key,
            epoch=now.epoch, revision=now.revision, salt=now.salt,
        )  # fmt: skip
        records += [made, shadow(made.id, Arm.STUDENT, ended_at=site.now)]
    spool(site.data_dir, "g1", records)
    site.tick()
    claimed = site.store.claim("w", 10_000, 60.0, site.now)
    site.store.judged(
        [
            Judgement(
                pair_id=claim.pair.id, rubric="exact@1", method="judge", scores=(), d=d, scored_at=site.now,
                failure="judge_unscorable" if d is None else None, outcomes=outcomes,
            )
            for claim in claimed
        ]
    )  # fmt: skip
    site.tick()


def seen(site: Site) -> gates.Look:
    snapshot = site.store.snapshot()
    assert snapshot is not None
    return gates.look(site.store, snapshot, ROUTE, site.now)


def error_stream(site: Site, direction: str) -> float:
    rows = seen(site).view.state.streams.get((direction, POOLED, "error"))
    return 0.0 if rows is None else float(rows.sum())


def test_a_fault_that_needs_no_judge_reaches_the_detectors_while_the_conversation_goes_on(talk: Site):
    for number in range(10):
        turns(talk, 2, f"fine-{number}", NO_FAULT)
    calm = error_stream(talk, AT_ONCE)
    for number in range(10):
        turns(talk, 2, f"broken-{number}", FAULT)
    assert error_stream(talk, AT_ONCE) > 10 * calm > 0
    assert seen(talk).view.state.overall.evidence.units == 0
    assert error_stream(talk, "forward") == 0.0
    loud = error_stream(talk, AT_ONCE)
    talk.now += IDLE_S + 1.0
    talk.tick()
    assert seen(talk).view.state.overall.evidence.units == 20
    assert error_stream(talk, "forward") > calm
    assert error_stream(talk, AT_ONCE) == loud


def test_a_conversation_is_read_at_once_by_its_first_turn_alone_and_each_new_one_again(talk: Site):
    turns(talk, 3, "user", FAULT)
    once = error_stream(talk, AT_ONCE)
    turns(talk, 40, "user", FAULT)
    assert error_stream(talk, AT_ONCE) == once > 0
    talk.now += IDLE_S + 1.0
    talk.tick()
    turns(talk, 1, "user", FAULT)
    assert error_stream(talk, AT_ONCE) > once
    assert {one.found for one in replay(talk.store, ROUTE, ()).again} == {Found.SAME}


def test_when_a_conversation_is_over_is_the_routes_to_say_and_part_of_its_epoch(talk: Site):
    before = rollout_of(talk).epoch
    talk.loop.release()
    talk.loop = built(
        talk.data_dir, talk.store, Metrics(), lambda: talk.now, unit="conversation", conversation_idle="10s"
    )
    talk.tick()
    assert rollout_of(talk).epoch != before
    turns(talk, 3, "user", NO_FAULT)
    assert seen(talk).view.state.overall.evidence.units == 0
    talk.now += 11.0
    talk.tick()
    assert seen(talk).view.state.overall.evidence.units == 1


def test_a_key_that_never_pauses_is_a_unit_each_time_it_is_long_enough(talk: Site):
    for _ in range(5):
        turns(talk, UNIT_TURNS // 2, "robot", NO_FAULT, d=0.25)
        talk.now += IDLE_S / 2
    evidence = seen(talk).view.state.overall.evidence
    assert (evidence.units, evidence.distinct_keys) == (2, 1)
    assert talk.store.depth(ROUTE).scored == UNIT_TURNS * 5 // 2


def test_one_turn_that_nobody_could_score_does_not_hide_the_harm_of_its_conversation(talk: Site):
    for number in range(12):
        turns(talk, 9, f"user-{number}", NO_FAULT, d=-0.9)
        turns(talk, 1, f"user-{number}", NO_FAULT, d=None)
    talk.now += IDLE_S + 1.0
    talk.tick(2)
    assert seen(talk).view.detectors["hold"] > 100.0
