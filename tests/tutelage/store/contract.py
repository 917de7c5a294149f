"""What every store must do. A store's test file subclasses this and gives `open_another`.

`store` and `other` are two connections to the same store, as two processes would have them.
"""

import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest

from router.rollout import Phase
from router.types import Direction, Sampling
from tests.tutelage.store.contract_gates import GateContract
from tests.tutelage.store.contract_judges import JudgeContract
from tests.tutelage.store.made import (
    audit,
    change,
    config,
    decision,
    epoch,
    judgement,
    key,
    pair,
    rollout,
)
from tutelage.contracts.decisions import CellNumbers
from tutelage.contracts.errors import LeaseLost, StaleRevision
from tutelage.contracts.records import Spending, encode
from tutelage.contracts.snapshot import decode_snapshot
from tutelage.store.base import Exclusion, Fold, Joined, Lease, QueueDepth, Store


class StoreContract(GateContract, JudgeContract):
    """The contract, role by role."""

    @pytest.fixture
    def open_another(self) -> Callable[[], Store]:
        raise AssertionError("give a fixture `open_another` that opens the same store once more")

    @pytest.fixture
    def store(self, open_another: Callable[[], Store]) -> Iterator[Store]:
        opened = open_another()
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, open_another: Callable[[], Store], store: Store) -> Iterator[Store]:
        opened = open_another()
        yield opened
        opened.close()

    # --- snapshot -----------------------------------------------------------------------------------------------------

    def test_an_empty_store_has_no_snapshot(self, store: Store):
        assert store.snapshot() is None
        assert store.sequence() == 0

    def test_the_snapshot_holds_what_was_committed(self, store: Store):
        sampling = Sampling(forward_bp=10_000, salt="s", version=3)
        store.publish(config())
        store.commit(change(rollout(phase=Phase.HELD, holds=frozenset({"a", "b"})), 0, epoch=epoch()))
        store.set_sampling("triage", sampling)
        store.put_key(key())

        snapshot = store.snapshot()

        assert snapshot is not None
        assert snapshot.config == config()
        assert snapshot.rollouts == {"triage": rollout(phase=Phase.HELD, holds=frozenset({"a", "b"}))}
        assert snapshot.samplings == {"triage": sampling}
        assert snapshot.epochs == {"triage": epoch()}
        assert snapshot.keys == (key(),)
        assert snapshot.sequence == store.sequence() == 4
        assert decode_snapshot(encode(snapshot)) == snapshot

    def test_the_snapshot_shows_the_epoch_in_force_only(self, store: Store):
        store.publish(config())
        store.commit(change(rollout(), 0, epoch=epoch("e1")))
        store.commit(change(rollout(revision=2, epoch="e2"), 1, epoch=epoch("e2")))
        snapshot = store.snapshot()
        assert snapshot is not None
        assert snapshot.epochs == {"triage": epoch("e2")}

    def test_past_revisions_and_epochs_are_kept(self, store: Store, other: Store):
        store.commit(change(rollout(), 0, epoch=epoch("e1")))
        store.commit(change(rollout(revision=2, epoch="e2"), 1, epoch=epoch("e2")))
        assert other.rollout_at("triage", 1) == rollout()
        assert other.rollout_at("triage", 2) == rollout(revision=2, epoch="e2")
        assert other.rollout_at("triage", 3) is None
        assert (other.epoch("e1"), other.epoch("nobody's")) == (epoch("e1"), None)

    def test_each_change_of_the_snapshot_raises_the_sequence_and_others_see_it(self, store: Store, other: Store):
        changes: list[Callable[[], object]] = [
            lambda: store.publish(config()),
            lambda: store.commit(change(rollout(), 0)),
            lambda: store.set_sampling("triage", Sampling(version=1)),
            lambda: store.put_key(key()),
            lambda: store.revoke_key("k1", 9.0),
        ]
        for number, make in enumerate(changes, start=1):
            make()
            assert other.sequence() == number
            assert store.sequence() == number

    def test_what_changes_nothing_raises_no_sequence(self, store: Store):
        store.publish(config())
        store.set_sampling("triage", Sampling(version=1))
        before = store.sequence()
        assert store.publish(config()) == before
        assert store.set_sampling("triage", Sampling(version=1)) == before
        assert store.revoke_key("nobody", 1.0) is False
        assert store.sequence() == before

    def test_traffic_raises_no_sequence(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        store.claim("w", 1, 60.0, 2.0)
        store.judged([judgement("p1")])
        lease = store.acquire("control", "a", 10.0, 1.0)
        assert lease is not None
        store.fold(
            Fold(
                route="triage",
                revision=1,
                folded=(store.unfolded("triage", 1, 0.0)[0].order,),
                gate_state=b"x",
                lease=lease,
            )
        )
        store.refuse(decision("d1"))
        store.audit(audit())
        assert store.sequence() == 0

    def test_a_snapshot_is_one_state_while_others_write(self, store: Store, other: Store):
        """Two keys are always written with the same label, one commit each, behind a new configuration."""
        store.publish(config("0"))
        store.put_key(key("a", label="0"))
        stop = threading.Event()

        def write() -> None:
            for number in range(1, 150):
                other.put_key(key("a", label=str(number)))
            stop.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = []
        while not stop.is_set():
            snapshot = store.snapshot()
            assert snapshot is not None
            seen.append((snapshot.sequence, int(snapshot.keys[0].label)))
        writer.join()
        assert seen == sorted(seen)
        assert all(sequence == label + 2 for sequence, label in seen)

    # --- rollouts -----------------------------------------------------------------------------------------------------

    def test_a_rollout_is_read_as_committed(self, store: Store, other: Store):
        assert store.rollout("triage") is None
        store.commit(change(rollout(holds=frozenset({"judge"}), entered_at=3.5), 0))
        assert other.rollout("triage") == rollout(holds=frozenset({"judge"}), entered_at=3.5)

    @pytest.mark.parametrize("expected", [0, 2])
    def test_a_stale_revision_changes_nothing(self, store: Store, other: Store, expected: int):
        store.commit(change(rollout(), 0))
        with pytest.raises(StaleRevision) as refused:
            other.commit(change(rollout(revision=9, share_bp=500), expected))
        assert (refused.value.expected, refused.value.actual) == (expected, 1)
        assert store.rollout("triage") == rollout()
        assert len(store.history("triage")) == len(store.audits()) == 1
        assert store.sequence() == 1

    def test_of_many_writers_at_one_revision_one_wins(self, store: Store, open_another: Callable[[], Store]):
        store.commit(change(rollout(), 0))
        outcomes: list[str] = []

        def race(writer: int) -> None:
            mine = open_another()
            try:
                mine.commit(change(rollout(revision=2, share_bp=writer), 1))
                outcomes.append(f"won {writer}")
            except StaleRevision:
                outcomes.append("lost")
            finally:
                mine.close()

        threads = [threading.Thread(target=race, args=(writer,)) for writer in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [winner] = [outcome for outcome in outcomes if outcome != "lost"]
        assert outcomes.count("lost") == 5
        after = store.rollout("triage")
        assert after is not None
        assert f"won {after.share_bp}" == winner

    def test_history_is_newest_first_and_of_one_route(self, store: Store):
        for number in range(4):
            store.refuse(decision(f"d{number}"))
        store.refuse(decision("elsewhere", route="other"))
        assert [row.id for row in store.history("triage", limit=3)] == ["d3", "d2", "d1"]

    def test_a_decision_with_infinite_numbers_can_be_read(self, store: Store):
        never, above = float("-inf"), float("inf")
        cell = CellNumbers(cell="c", n=0, mean_d=None, log_e=never, threshold=above)
        store.refuse(decision("d1", detectors={"back": never, "down": 1.5}, cells=(cell,)))
        [read] = store.history("triage")
        assert read.detectors == {"down": 1.5}
        assert read.cells[0].log_e < -1e300
        assert read.cells[0].threshold > 1e300

    def test_audits_are_newest_first(self, store: Store):
        store.audit(audit("first"))
        store.audit(audit("second"))
        assert [row.action for row in store.audits()] == ["second", "first"]

    # --- keys ---------------------------------------------------------------------------------------------------------

    def test_a_key_is_revoked_once(self, store: Store, other: Store):
        store.put_key(key())
        assert store.revoke_key("k1", 9.0) is True
        assert store.revoke_key("k1", 10.0) is False
        assert other.keys() == (key(revoked_at=9.0),)

    def test_a_key_of_the_same_id_replaces(self, store: Store):
        store.put_key(key(label="old"))
        store.put_key(key(label="new"))
        assert [kept.label for kept in tuple(store.keys())] == ["new"]

    # --- lease --------------------------------------------------------------------------------------------------------

    def test_the_lease_is_one_holders_until_it_expires(self, store: Store, other: Store):
        first = store.acquire("control", "a", 10.0, 0.0)
        assert first is not None
        assert other.acquire("control", "b", 10.0, 9.9) is None
        taken = other.acquire("control", "b", 10.0, 10.0)
        assert taken is not None
        assert taken.token > first.token
        assert store.acquire("control", "a", 10.0, 11.0) is None

    def test_renewing_keeps_the_token(self, store: Store):
        first = store.acquire("control", "a", 10.0, 0.0)
        again = store.acquire("control", "a", 10.0, 5.0)
        assert first is not None
        assert again == Lease(name="control", holder="a", token=first.token, expires_at=15.0)

    def test_a_released_lease_is_free_and_fenced(self, store: Store, other: Store):
        first = store.acquire("control", "a", 10.0, 0.0)
        assert first is not None
        store.release(first)
        with pytest.raises(LeaseLost):
            store.commit(change(rollout(), 0, first))
        second = other.acquire("control", "b", 10.0, 1.0)
        assert second is not None
        assert second.token > first.token
        store.release(first)
        assert other.acquire("control", "b", 10.0, 2.0) == Lease(
            name="control", holder="b", token=second.token, expires_at=12.0
        )

    def test_a_fenced_out_writer_changes_nothing(self, store: Store, other: Store):
        old = store.acquire("control", "a", 10.0, 0.0)
        new = other.acquire("control", "b", 10.0, 50.0)
        with pytest.raises(LeaseLost):
            store.commit(change(rollout(), 0, old))
        assert store.rollout("triage") is None
        assert store.history("triage") == []
        other.commit(change(rollout(), 0, new))
        assert store.rollout("triage") == rollout()

    # --- join and queue -----------------------------------------------------------------------------------------------

    def test_joining_is_idempotent(self, store: Store):
        joined = Joined(
            pairs=[pair("p1", 1.0)],
            excluded=[Exclusion(id="x1", route="triage", epoch="e1", reason="shed", at=1.0)],
            waiting={("h1", "p9"): b'{"route":"triage"}'},
            positions={"g1": 7},
        )
        store.join(joined)
        store.claim("w", 10, 60.0, 2.0)
        store.join(joined)
        assert store.claim("w", 10, 60.0, 3.0) == []
        assert store.depth("triage").by_exclusion == {"shed": 1}
        assert store.waiting_halves() == [b'{"route":"triage"}']
        assert store.positions() == {"g1": 7}

    def test_a_half_that_was_used_waits_no_more(self, store: Store):
        store.join(Joined(waiting={("h1", "p1"): b"1", ("h2", "p2"): b"2"}))
        store.join(Joined(pairs=[pair("p1", 1.0)], done=["h1"]))
        assert store.waiting_halves() == [b"2"]

    def test_claims_are_oldest_first_and_whole(self, store: Store):
        pairs = [pair(f"p{number}", float(number)) for number in (3, 1, 2)]
        store.join(Joined(pairs=pairs))
        claimed = store.claim("w", 2, 60.0, 10.0)
        assert [row.pair for row in claimed] == [pair("p1", 1.0), pair("p2", 2.0)]
        assert {(row.until, row.deliveries) for row in claimed} == {(70.0, 1)}

    def test_a_claimed_pair_comes_back_when_no_judgement_comes(self, store: Store, other: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        store.claim("w1", 1, 60.0, 10.0)
        assert other.claim("w2", 1, 60.0, 69.9) == []
        [again] = other.claim("w2", 1, 60.0, 70.0)
        assert again.deliveries == 2

    def test_a_requeued_pair_waits_for_its_time(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        store.claim("w", 1, 60.0, 10.0)
        store.requeue("p1", 20.0)
        assert store.claim("w", 1, 60.0, 19.0) == []
        assert [row.pair.id for row in store.claim("w", 1, 60.0, 20.0)] == ["p1"]

    def test_excluded_pairs_are_counted_and_not_queued(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0, excluded="parity"), pair("p2", 2.0)]))
        assert [row.pair.id for row in store.claim("w", 10, 60.0, 3.0)] == ["p2"]
        depth = store.depth("triage")
        assert (depth.waiting, depth.oldest_admitted_at, depth.by_exclusion) == (1, 2.0, {"parity": 1})

    def test_depth_follows_pairs_from_the_queue_to_their_end(self, store: Store, other: Store):
        kept = [pair(f"p{number}", float(number)) for number in (1, 2, 3)]
        gone = [pair("p4", 4.0, excluded="parity"), pair("p1", 1.0), pair("q1", 1.0, route="other")]
        lost = Exclusion(id="x1", route="triage", epoch="e1", reason="parity", at=9.0)
        store.join(Joined(pairs=[*kept, *gone], excluded=[lost, lost]))
        store.judged([judgement("p1"), judgement("p1"), judgement("p2")])
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        first = store.unfolded("triage", 1, 0.0)[0].order
        store.fold(Fold(route="triage", revision=1, folded=(first,), gate_state=b"1", lease=lease))
        seen = QueueDepth(waiting=1, oldest_admitted_at=3.0, scored=2, by_exclusion={"parity": 2})
        assert store.depth("triage") == other.depth("triage") == seen
        store.purge("triage", 5.0)
        assert store.depth("triage") == QueueDepth(by_exclusion={"parity": 1})
        assert store.depth("other").waiting == 1

    def test_claims_of_many_workers_never_overlap(self, store: Store, open_another: Callable[[], Store]):
        store.join(Joined(pairs=[pair(f"p{number:03}", float(number)) for number in range(200)]))
        taken: list[str] = []

        def work(worker: str) -> None:
            mine = open_another()
            while claimed := mine.claim(worker, 7, 600.0, 1000.0):
                taken.extend(row.pair.id for row in claimed)
            mine.close()

        threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == len(set(taken)) == 200

    # --- judgements ---------------------------------------------------------------------------------------------------

    def test_a_judged_pair_leaves_the_queue(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        store.judged([judgement("p1", -0.5)])
        assert store.claim("w", 1, 60.0, 1e9) == []
        assert store.judgements("p1") == [judgement("p1", -0.5)]
        assert (store.depth("triage").waiting, store.depth("triage").scored) == (0, 1)

    def test_judgements_upsert_by_pair_rubric_and_method(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        store.judged([judgement("p1", 0.0), judgement("p1", 0.1, method="judge")])
        store.judged([judgement("p1", 0.2), judgement("p1", 0.3, rubric="triage@2")])
        assert sorted(row.d or 0.0 for row in store.judgements("p1")) == [0.1, 0.2, 0.3]

    def test_the_judgement_of_a_pair_that_is_gone_is_dropped(self, store: Store):
        store.judged([judgement("nobody")])
        assert store.judgements("nobody") == []

    def test_pairs_are_read_back_newest_first(self, store: Store):
        store.join(Joined(pairs=[pair(f"p{number}", float(number)) for number in range(5)]))
        assert [row.id for row in store.pairs("triage", 2)] == ["p4", "p3"]
        assert [row.id for row in store.pairs("triage", 2, before=3.0)] == ["p2", "p1"]
        assert store.pair("p0") == pair("p0", 0.0)
        assert store.pair("p9") is None

    def test_traffic_counts_one_direction_without_the_excluded(self, store: Store):
        store.join(
            Joined(
                pairs=[
                    pair("p1", 1.0),
                    pair("p2", 2.0),
                    pair("p3", 3.0, direction=Direction.REVERSE),
                    pair("p4", 4.0, excluded="parity"),
                    pair("p5", 5.0, route="other"),
                ]
            )
        )
        assert store.traffic("triage", Direction.FORWARD, 0.0) == 2
        assert store.traffic("triage", Direction.FORWARD, 1.0) == 1
        assert store.traffic("triage", Direction.REVERSE, 0.0) == 1

    def test_purge_deletes_content_past_its_time_and_nothing_else(self, store: Store):
        store.join(
            Joined(
                pairs=[pair("p1", 1.0), pair("p2", 2.0), pair("q1", 1.0, route="other")],
                waiting={
                    ("old", "x"): b'{"route":"triage","admitted_at":1.0}',
                    ("shadow", "y"): b'{"route":"triage","ended_at":1.5}',
                    ("new", "z"): b'{"route":"triage","admitted_at":2.5}',
                },
            )
        )
        store.judged([judgement("p1"), judgement("p2")])
        assert store.purge("triage", 2.0) == 1
        assert store.pair("p1") is None
        assert store.judgements("p1") == []
        assert [row.pair.id for row in store.unfolded("triage", 10, 0.0)] == ["p2"]
        assert store.pair("q1") is not None
        assert store.waiting_halves() == [b'{"route":"triage","admitted_at":2.5}']
        assert store.purge("triage", 2.0) == 0

    # --- what it cost ---------------------------------------------------------------------------------------------------

    def test_spending_adds_up_per_day_and_account_with_the_positions(self, store: Store, other: Store):
        row = Spending(route="triage", day=3, account="teacher", calls=2, unpriced=1, nusd=7)
        store.join(Joined(positions={"g": 1}, spent=[row]))
        store.join(Joined(positions={"g": 2}, spent=[row, msgspec.structs.replace(row, account="shadow")]))
        assert [(r.account, r.calls, r.unpriced, r.nusd) for r in other.spending("triage")] == [
            ("shadow", 2, 1, 7),
            ("teacher", 4, 2, 14),
        ]
        assert other.spending("another") == []

    def test_each_judge_call_is_spent_where_it_was_paid_even_for_a_pair_judged_twice(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        paid = judgement("p1", judge="claude", cost_nusd=11, scored_at=86_400.0 * 4)
        store.judged([paid])
        store.judged([paid, judgement("p1", judge=None), judgement("gone", judge="claude", cost_nusd=99)])
        assert [(r.day, r.account, r.calls, r.unpriced, r.nusd) for r in store.spending("triage")] == [
            (4, "judge", 2, 0, 22)
        ]
