from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from router.events import Promote
from router.types import Arm, Sampling
from scoring.gates import controller
from tests.scoring.gates.made import unit
from tests.tutelage.control.made import NOW, ROUTE, attempt, exchange, settings, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_join import HERE
from tutelage.contracts.ids import uuid7
from tutelage.contracts.pairs import Pair
from tutelage.contracts.snapshot import Snapshot
from tutelage.control.adaptive import EVERY_S, AdaptiveSampling
from tutelage.control.chores import CHANGE, DAY_S, RATE_EVERY_S, Retention, ShadowBudget, TeacherRate
from tutelage.control.conclude import conclude
from tutelage.control.metrics import Metrics
from tutelage.control.snapshot import Publisher, Sources, published
from tutelage.store.apply import apply
from tutelage.store.base import Fold, Joined, Lease, Store
from tutelage.store.registry import open_store
from tutelage.store.spool import last_sequence, read_after, spool_path

LEASE = Lease(name="control", holder="me", token=1, expires_at=NOW + 10)
BEGUN = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/t.db")
    opened.publish(published(settings(), NOW))
    opened.set_sampling(ROUTE, BEGUN)
    yield opened
    opened.close()


def snapshot(store: Store) -> Snapshot:
    found = store.snapshot()
    assert found is not None
    return found


def pairs(count: int, at: float, name: str = "x") -> list[Pair]:
    made = [
        conclude(
            exchange(f"{name}{n}", Arm.STUDENT, admitted_at=at), (shadow(f"{name}{n}", Arm.TEACHER, ended_at=at),), HERE
        )
        for n in range(count)
    ]
    return [pair for pair in made if isinstance(pair, Pair)]


def test_the_teacher_rate_follows_the_students_traffic(store: Store):
    chore = TeacherRate(store, settings(shadow={"pairs_per_day": 240}))
    chore.do(snapshot(store), LEASE, NOW)
    store.join(Joined(pairs=pairs(100, NOW + 10)))
    chore.do(snapshot(store), LEASE, NOW + 1)
    assert snapshot(store).samplings[ROUTE] == BEGUN
    chore.do(snapshot(store), LEASE, NOW + RATE_EVERY_S)
    after = snapshot(store).samplings[ROUTE]
    assert (after.reverse_bp, after.version, after.salt) == (1000, 2, "s")


def test_a_small_change_of_traffic_is_no_new_policy(store: Store):
    chore = TeacherRate(store, settings(shadow={"pairs_per_day": int(2400 / CHANGE) + 100}))
    chore.do(snapshot(store), LEASE, NOW)
    store.join(Joined(pairs=pairs(100, NOW + 10)))
    chore.do(snapshot(store), LEASE, NOW + RATE_EVERY_S)
    assert snapshot(store).samplings[ROUTE] == BEGUN


def test_a_spent_budget_stops_shadows_until_the_next_day(store: Store):
    chore = ShadowBudget(store, settings(shadow={"max_usd_per_day": 1.0}))
    spent = attempt(Arm.TEACHER, "shadow", cost_nusd=600_000_000)
    chore.saw(shadow("a", attempt=spent, ended_at=NOW))
    chore.do(snapshot(store), LEASE, NOW)
    assert snapshot(store).samplings[ROUTE] == BEGUN
    chore.saw(shadow("b", attempt=spent, ended_at=NOW))
    chore.do(snapshot(store), LEASE, NOW)
    stopped = snapshot(store).samplings[ROUTE]
    assert (stopped.forward_bp, stopped.reverse_bp, stopped.version) == (0, 0, 2)
    chore.do(snapshot(store), LEASE, NOW + DAY_S)
    again = snapshot(store).samplings[ROUTE]
    assert (again.forward_bp, again.reverse_bp, again.version) == (10_000, 10_000, 3)


def test_what_is_past_its_retention_goes_from_store_and_spools(store: Store, tmp_path: Path):
    old, new = NOW - 31 * DAY_S, NOW
    spool(
        tmp_path, "g1", [exchange("o", admitted_at=old), exchange("n", admitted_at=new), exchange("u", admitted_at=old)]
    )
    store.join(Joined(pairs=[*pairs(2, old, "o"), *pairs(1, new, "n")], positions={"g1": 2}))
    metrics = Metrics()
    chore = Retention(store, settings(), metrics, tmp_path)
    chore.do(snapshot(store), LEASE, NOW)
    assert [pair.id for pair in store.pairs(ROUTE, 10)] == ["n0"]
    path = spool_path(tmp_path, "g1")
    assert [row.id for row in read_after(path, 0, 10)] == ["n", "u"]
    assert last_sequence(path) == 3
    assert f'tutelage_purged_total{{route="{ROUTE}",what="pairs"}} 2.0' in metrics.scrape().decode()


def test_sampling_follows_what_has_passed_and_every_change_is_a_version(store: Store):
    declared = settings(slices={"routing": ["header:x-tutelage-slice"]}, shadow={"student": "50%"})
    Publisher(declared, {}, Sources(new_id=uuid7, new_salt=lambda: "s")).publish(store, taken(store), NOW)
    before = snapshot(store)
    rollout, epoch = before.rollouts[ROUTE], before.epochs[ROUTE]
    chore = AdaptiveSampling(store, declared)
    chore.do(before, LEASE, NOW)
    assert snapshot(store).samplings == before.samplings
    units = [
        unit(n, route=ROUTE, epoch=epoch.id, revision=rollout.revision, slices={"slice": "a" if n % 3 else "b"})
        for n in range(300)
    ]
    good = [structs.replace(one, d=0.2 if one.slices["slice"] == "a" else -0.1) for one in units]
    state = controller.fold_all(controller.initial(rollout, epoch), good, rollout, epoch)
    store.fold(Fold(route=ROUTE, revision=1, folded=(), gate_state=controller.encode(state), lease=taken(store)))
    chore.do(before, LEASE, NOW + 1)
    assert snapshot(store).samplings == before.samplings
    chore.do(before, LEASE, NOW + EVERY_S)
    after = snapshot(store).samplings[ROUTE]
    assert (after.slice, after.watched, after.watch_bp, after.forward_bp) == ("slice", ("a",), 1000, 10_000)
    assert after.version == before.samplings[ROUTE].version + 1
    chore.do(snapshot(store), LEASE, NOW + 2 * EVERY_S)
    assert snapshot(store).samplings[ROUTE] == after
    promote = Promote(at=NOW, actor="me", reason="by hand", waived=True)
    apply(store, ROUTE, promote, expected_revision=rollout.revision, new_id=uuid7)
    chore.do(snapshot(store), LEASE, NOW + 2 * EVERY_S + 1)  # a stage is entered: at once, not at the next round
    entered = snapshot(store).samplings[ROUTE]
    assert (entered.watched, entered.forward_bp, entered.version) == ((), 5_000, after.version + 1)


def taken(store: Store) -> Lease:
    lease = store.acquire("control", "me", 10.0, NOW)
    assert lease is not None
    return lease
