"""Ticks over a real store and real spools; the worker is played by hand."""

from collections.abc import Callable

import pytest

from router.rollout import Phase, Rollout
from router.types import Arm, Direction
from tests.tutelage.control.conftest import Site, built
from tests.tutelage.control.made import ROUTE, exchange, plan, shadow
from tests.tutelage.control.spooling import spool
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.pairs import Judgement
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.contracts.snapshot import PublishedConfig
from tutelage.control.decide import FACTS_EVERY_S, LOOKS_PER_TICK, UNITS_PER_LOOK
from tutelage.control.metrics import Metrics
from tutelage.control.refusals import REFUSAL, kind_of
from tutelage.control.units import JUDGE_DEADLINE_S, WAITED_FOR_S
from tutelage.store.registry import open_store


def rollout_of(site: Site) -> Rollout:
    found = site.store.rollout(ROUTE)
    assert found is not None
    return found


def traffic(site: Site, count: int, name: str, assigned: Arm = Arm.TEACHER) -> None:
    """`count` sampled exchanges as the rollout stands now, with their shadows, in the spool."""
    rollout = rollout_of(site)
    records: list[Exchange | ShadowAttempt] = []
    for number in range(count):
        made = exchange(
            f"{name}-{number}",
            assigned,
            admitted_at=site.now,
            epoch=rollout.epoch,
            revision=rollout.revision,
            salt=rollout.salt,
        )
        records += [made, shadow(made.id, assigned.other, ended_at=site.now)]
    spool(site.data_dir, "g1", records)


def judge(site: Site, d: float = 0.0, failure: str | None = None) -> int:
    """Judge all that waits."""
    claimed = site.store.claim("w", 10_000, 60.0, site.now)
    site.store.judged(
        [
            Judgement(
                pair_id=claim.pair.id,
                rubric="exact@1",
                method="check",
                scores=(),
                d=d,
                failure=failure,
                scored_at=site.now,
            )
            for claim in claimed
        ]
    )
    return len(claimed)


def events(site: Site) -> list[str]:
    return [decision.event for decision in reversed(site.store.history(ROUTE, 100))]


def until(site: Site, reached: Callable[[Rollout], bool], direction: Arm, d: float, rounds: int = 60) -> Rollout:
    for number in range(rounds):
        if reached(rollout_of(site)):
            break
        traffic(site, 50, f"{direction}-{site.now}-{number}", direction)
        site.tick()
        judge(site, d)
        site.tick()
    return rollout_of(site)


def test_the_first_tick_publishes_and_begins(site: Site):
    site.tick()
    snapshot = site.store.snapshot()
    assert snapshot is not None
    assert snapshot.rollouts[ROUTE].phase is Phase.SHADOW
    assert snapshot.epochs[ROUTE].id == snapshot.rollouts[ROUTE].epoch
    assert snapshot.samplings[ROUTE].forward_bp == 10_000
    assert events(site)[:2] == ["Create", "Begin"]


def test_a_restart_publishes_nothing_twice(site: Site):
    site.tick()
    before = site.store.sequence()
    site.loop.release()
    site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "second")
    site.tick()
    assert site.store.sequence() == before


def test_an_equal_student_climbs_on_forward_and_fresh_reverse_pairs(site: Site):
    site.tick()
    climbed = until(site, lambda r: r.rung == 1, Arm.TEACHER, 0.0)
    assert (climbed.phase, climbed.share_bp) == (Phase.RAMPING, 1000)
    for number in range(40):
        traffic(site, 50, f"f{number}", Arm.TEACHER)
        traffic(site, 50, f"r{number}", Arm.STUDENT)
        site.tick()
        judge(site, 0.0)
        site.tick()
    assert rollout_of(site).phase is Phase.COMPLETE
    moves = [decision for decision in site.store.history(ROUTE, 100) if decision.event == "Advance"]
    assert [(move.from_bp, move.to_bp) for move in reversed(moves)] == [(0, 1000), (1000, 9000)]
    assert all(move.cells and move.reason for move in moves)
    assert all(cell.log_e >= cell.threshold for cell in moves[0].cells[:1])


def test_a_bad_student_on_its_share_is_rolled_back(site: Site):
    site.tick()
    until(site, lambda r: r.rung == 1, Arm.TEACHER, 0.0)
    fallen = until(site, lambda r: r.phase is Phase.ROLLED_BACK, Arm.STUDENT, -0.5)
    assert (fallen.phase, fallen.share_bp) == (Phase.ROLLED_BACK, 0)
    assert "RollBack" in events(site)


def test_why_nothing_moves_is_recorded_once_per_reason(site: Site):
    site.tick(5)
    traffic(site, 5, "a")
    site.tick()
    judge(site, -0.2)
    site.tick(5)
    revision = rollout_of(site).revision
    refusals = [d for d in site.store.history(ROUTE, 100) if d.event == REFUSAL and d.revision_to == revision]
    kinds = [kind_of(decision.reason) for decision in refusals]
    assert refusals
    assert len(set(kinds)) == len(kinds)
    site.loop.release()
    site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "second")
    site.tick(3)
    again = [d for d in site.store.history(ROUTE, 100) if d.event == REFUSAL and d.revision_to == revision]
    assert len(again) == len(refusals)


def test_inputs_without_a_right_answer_are_done_with_and_fold_nothing(site: Site):
    site.tick()
    traffic(site, 10, "a")
    site.tick()
    assert judge(site, 0.0, "no_reference") == 10
    site.tick()
    assert not site.store.unfolded(ROUTE, 100, 0.0)
    assert "no_reference" in site.metrics.scrape().decode()


def test_losses_that_could_hide_bad_answers_hold_the_rollout(site: Site):
    site.tick()
    rollout = rollout_of(site)
    gone = [
        exchange(f"g{n}", admitted_at=site.now, epoch=rollout.epoch, revision=rollout.revision, salt=rollout.salt)
        for n in range(30)
    ]
    spool(site.data_dir, "g1", gone)
    traffic(site, 100, "a")
    site.tick()
    judge(site, 0.0)
    site.now += 1000.0
    site.tick(4)
    assert site.store.depth(ROUTE).by_exclusion == {"gateway_died": 30}
    assert "missing" in rollout_of(site).holds


def test_only_the_holder_of_the_lease_works(site: Site):
    site.tick()
    other_store = open_store(site.url)
    other = built(site.data_dir, other_store, Metrics(), lambda: site.now, "standby")
    traffic(site, 3, "a")
    other.tick()
    assert site.store.depth(ROUTE).waiting == 0
    site.tick()
    assert site.store.depth(ROUTE).waiting == 3
    traffic(site, 3, "b")
    site.now += 60.0
    other.tick()
    assert site.store.depth(ROUTE).waiting == 6
    site.loop.tick()
    traffic(site, 3, "c")
    site.loop.tick()
    assert site.store.depth(ROUTE).waiting == 6
    other_store.close()


def test_a_store_that_fails_once_costs_nothing(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.tick()
    traffic(site, 3, "a")
    join = site.store.join

    def failing(joined: object) -> None:
        raise StoreUnavailable("out of reach")

    monkeypatch.setattr(site.store, "join", failing)
    with pytest.raises(StoreUnavailable):
        site.tick()
    site.loop.forget()
    monkeypatch.setattr(site.store, "join", join)
    site.tick()
    assert site.store.depth(ROUTE).waiting == 3


def test_a_new_student_starts_at_share_zero_before_the_configuration_is_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    site.tick()
    until(site, lambda r: r.rung == 1, Arm.TEACHER, 0.0)
    site.loop.release()
    site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "second", student_version="v2")
    published = site.store.publish
    shares: list[int] = []

    def publish(config: PublishedConfig) -> int:
        shares.append(rollout_of(site).share_bp)
        return published(config)

    monkeypatch.setattr(site.store, "publish", publish)
    site.tick()
    assert shares == [0]
    assert (rollout_of(site).student, rollout_of(site).attempt) == ("small@v2", 2)


def test_pairs_of_before_do_not_count_for_the_new_epoch(site: Site):
    site.tick()
    old = rollout_of(site)
    site.loop.release()
    site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "second", rubric="exact@2")
    site.tick()
    late = exchange("late", admitted_at=site.now, epoch=old.epoch, revision=old.revision, salt=old.salt)
    spool(site.data_dir, "g1", [late, shadow("late", ended_at=site.now)])
    site.tick()
    assert site.store.depth(ROUTE).by_exclusion == {"superseded": 1}
    assert site.store.traffic(ROUTE, Direction.FORWARD, 0.0) == 0


def test_a_pair_is_kept_with_its_teachers_terms(site: Site):
    site.tick()
    traffic(site, 3, "a")
    site.tick()
    assert [pair.training_use for pair in site.store.pairs(ROUTE, 10)] == ["denied"] * 3


def test_what_was_not_sampled_leaves_no_trace(site: Site):
    site.tick()
    spool(site.data_dir, "g1", [exchange("plain", plan=plan(shadow=None))])
    site.tick()
    assert site.store.depth(ROUTE).by_exclusion == {}
    assert not site.store.waiting_halves()
    assert dict(site.store.positions()) == {"g1": 1}


def score(site: Site, **d: float) -> None:
    """Judge the pairs whose name begins with one of these words; the others wait."""
    names = [pair.id for pair in site.store.pairs(ROUTE, 10_000)]
    found = [(name, d[word]) for name in names if (word := name.partition("-")[0]) in d]
    site.store.judged(
        [
            Judgement(pair_id=name, rubric="exact@1", method="check", scores=(), d=d, scored_at=site.now)
            for name, d in found
        ]
    )


def test_after_an_outage_of_the_judge_nothing_rises_before_what_was_late_is_counted(site: Site):
    site.tick(5)
    for word, count in (("slow", 100), ("bad", 200), ("tie", 400)):
        traffic(site, count, word)
        site.tick()
    score(site, tie=0.0)
    site.now += JUDGE_DEADLINE_S
    site.tick()
    assert rollout_of(site).holds == {"judge"}
    site.now += WAITED_FOR_S - JUDGE_DEADLINE_S
    site.tick()  # the ties are counted, and would be enough
    score(site, slow=0.0, bad=-1.0)
    site.tick(3)
    assert "Advance" not in events(site)
    assert rollout_of(site).phase is Phase.ROLLED_BACK


def test_a_student_rises_on_what_is_counted_while_later_units_wait(site: Site):
    site.tick(5)
    site.now += 60.0
    count = (LOOKS_PER_TICK + 2) * UNITS_PER_LOOK
    traffic(site, count, "many")
    site.tick()
    judge(site, 0.0)
    site.now += FACTS_EVERY_S
    site.tick()
    [risen] = [decision for decision in site.store.history(ROUTE, 100) if decision.event == "Advance"]
    assert risen.cells[0].n < count
