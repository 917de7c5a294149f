"""Parts over a real store and real spools: each climbs, or does not, by its own units; the worker is played by hand."""

from router.rollout import Phase, Rollout
from router.types import Arm
from tests.tutelage.control.conftest import CARVED, Site, built
from tests.tutelage.control.made import ROUTE, exchange, shadow
from tests.tutelage.control.spooling import spool
from tutelage.contracts.pairs import Judgement
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.control.metrics import Metrics
from tutelage.control.replay import Found, replay

GOLD = f"{ROUTE}:gold"
WORTH = {ROUTE: 0.0, GOLD: -0.2}
"""d of every pair, by part."""


def rollout_of(site: Site, name: str) -> Rollout:
    found = site.store.rollout(name)
    assert found is not None
    return found


def judged_traffic(site: Site, name: str) -> None:
    """A hundred pairs of each part, in both directions where its student serves, with their scores."""
    records: list[Exchange | ShadowAttempt] = []
    for part in WORTH:
        rollout = rollout_of(site, part)
        known = {"epoch": rollout.epoch, "revision": rollout.revision, "salt": rollout.salt}
        for number in range(100):
            arm = Arm.STUDENT if number % 2 and rollout.share_bp else Arm.TEACHER
            made = exchange(f"{part}-{name}-{number}", arm, route=part, admitted_at=site.now, **known)
            records += [made, shadow(made.id, arm.other, route=part, ended_at=site.now)]
    spool(site.data_dir, "g1", records)
    site.tick()
    claimed = site.store.claim("w", 10_000, 60.0, site.now)
    made_of = {claim.pair.id: WORTH[claim.pair.route] for claim in claimed}
    site.store.judged(
        [
            Judgement(pair_id=pair, rubric="exact@1", method="check", scores=(), d=d, failure=None, scored_at=site.now)
            for pair, d in made_of.items()
        ]
    )
    site.tick()


def test_a_part_whose_student_is_bad_stays_while_the_rest_climbs_through_a_restart(carving: Site):
    carving.tick()
    for number in range(6):
        judged_traffic(carving, f"before-{number}")
    halfway = rollout_of(carving, ROUTE)
    carving.loop.release()
    carving.loop = built(carving.data_dir, carving.store, Metrics(), lambda: carving.now, "second", **CARVED)
    for number in range(20):
        judged_traffic(carving, f"after-{number}")

    assert halfway.rung >= 1, "the first rung was reached before the restart"
    assert rollout_of(carving, ROUTE).phase is Phase.COMPLETE
    bad = rollout_of(carving, GOLD)
    assert (bad.share_bp, bad.phase) == (0, Phase.ROLLED_BACK)
    assert all(decision.to_bp == 0 for decision in carving.store.history(GOLD, 1_000))
    found = [again.found for name in WORTH for again in replay(carving.store, name, ()).again]
    assert found
    assert set(found) == {Found.SAME}
