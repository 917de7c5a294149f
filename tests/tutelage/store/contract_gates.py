"""The part of the store's contract that gates rely on. `contract.StoreContract` includes it and gives the fixtures."""

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from router.types import Direction
from tests.tutelage.store.made import judgement, pair, serving
from tutelage.contracts.records import Feedback
from tutelage.contracts.signals import Signals, Watch
from tutelage.store.base import Attached, Closing, Exclusion, Fold, Joined, Store, Turns


class GateContract:
    """`base.GateStore`."""

    def judge_all(self, store: Store, *pairs: str) -> None:
        store.judged([judgement(name) for name in pairs])

    def test_unfolded_is_in_order_of_admission(self, store: Store):
        store.join(Joined(pairs=[pair("b", 1.0), pair("a", 1.0), pair("c", 0.5), pair("d", 0.1, route="other")]))
        self.judge_all(store, "a", "b", "c", "d")
        assert [row.pair.id for row in store.unfolded("triage", 2, 0.0)] == ["c", "a"]
        assert [row.pair.id for row in store.unfolded("triage", 10, 0.0)] == ["c", "a", "b"]

    def test_a_request_waits_until_its_unit_is_quiet_and_is_counted_once(self, store: Store):
        said = Feedback(id="f1", exchange_id="c1", tenant="t", type="thumb", value="up", at=5.0)
        store.join(
            Joined(
                served=[
                    serving("c1", 1.0, "c"),
                    serving("d1", 2.0, "d"),
                    serving("c2", 9.0, "c"),
                    serving("d1", 2.0, "d"),
                ],
                feedback=[Attached(feedback=said, route="triage", input_hash=None)],
            )
        )
        assert [one.serving.id for one in store.servings("triage", 9.0, 0.0, 10)] == ["d1"]
        assert [one.serving.id for one in store.servings("triage", 9.0, 1.5, 10)] == [
            "d1",
            "c1",
        ]  # it never falls silent
        quiet = list(store.servings("triage", 10.0, 0.0, 10))
        assert [(one.serving.id, len(one.feedback)) for one in quiet] == [("d1", 0), ("c1", 1), ("c2", 0)]
        assert [one.serving.id for one in store.servings("triage", 10.0, 0.0, 1)] == ["d1"]
        assert not store.servings("other", 10.0, 0.0, 10)
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        fold = Fold(route="triage", folded=(), gate_state=b"s", lease=lease, revision=1, served=(quiet[1].order,))
        assert store.fold(fold)
        assert not store.fold(fold)
        assert [one.serving.id for one in store.servings("triage", 10.0, 0.0, 10)] == ["d1", "c2"]
        later = Feedback(id="f2", exchange_id="c1", tenant="t", type="thumb", value="down", at=6.0)
        store.join(Joined(feedback=[Attached(feedback=later, route="triage", input_hash=None)]))
        again = store.refold("triage", 1)
        assert again is not None
        assert (again.purged, again.scored, again.served) == (0, (), (quiet[1],))  # with what had been said by then
        store.purge("triage", 5.0)
        assert [one.serving.id for one in store.servings("triage", 10.0, 0.0, 10)] == ["c2"]

    def test_what_is_judged_waits_for_what_was_admitted_before_it_but_not_for_ever(self, store: Store):
        store.join(Joined(pairs=[pair("slow", 2.0), pair("a", 1.0), pair("b", 3.0), pair("z", 0.1, route="other")]))
        self.judge_all(store, "a", "b")
        assert [row.pair.id for row in store.unfolded("triage", 10, 0.0)] == ["a"]
        assert [row.pair.id for row in store.unfolded("triage", 10, 2.0)] == ["a", "b"]
        self.judge_all(store, "slow")
        assert [row.pair.id for row in store.unfolded("triage", 10, 0.0)] == ["a", "slow", "b"]

    def test_losses_are_counted_by_direction_and_reason_from_a_revision_on(self, store: Store):
        forward, reverse = Direction.FORWARD, Direction.REVERSE
        lost = [
            ("x1", "shutdown", 3, forward),
            ("x2", "shutdown", 4, forward),
            ("x3", "shutdown", 4, reverse),
            ("x4", "client_gone", 9, reverse),
            ("x4", "client_gone", 9, reverse),
            ("x5", "client_gone", 9, None),
        ]
        store.join(
            Joined(
                excluded=[
                    Exclusion(
                        id=name,
                        route="triage",
                        epoch="e",
                        reason=reason,
                        at=1.0,
                        revision=revision,
                        direction=direction,
                    )
                    for name, reason, revision, direction in lost
                ]
            )
        )
        assert store.losses("triage", "e", 0) == {
            forward: {"shutdown": 2},
            reverse: {"shutdown": 1, "client_gone": 1},
        }
        assert store.losses("triage", "e", 5) == {reverse: {"client_gone": 1}}
        assert store.losses("triage", "another", 0) == {}
        assert store.losses("other", "e", 0) == {}

    def test_a_pair_with_several_judgements_is_folded_by_the_first(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        store.judged([judgement("p1", -0.25, method="judge")])
        store.judged([judgement("p1", 1.0, method="human")])
        [scored] = store.unfolded("triage", 10, 0.0)
        assert scored.judgement == judgement("p1", -0.25, method="judge")

    def test_folded_pairs_come_in_the_order_of_folding_with_what_a_person_said(self, store: Store):
        late = structs.replace(pair("r", 3.0), direction=Direction.REVERSE)
        store.join(Joined(pairs=[pair("p1", 1.0), pair("p2", 2.0), late, pair("p3", 4.0)]))
        self.judge_all(store, "p1", "p2", "r", "p3")
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        order = {one.pair.id: one.order for one in store.unfolded("triage", 10, 0.0)}
        for names in (("p2",), ("r", "p1")):
            folded = tuple(order[name] for name in names)
            assert store.fold(Fold(route="triage", folded=folded, gate_state=b"s", lease=lease, revision=1))
        store.judged([judgement("p1", 0.5, method="human")])
        first, second = store.folded("triage", 0, 10)
        assert [(one.number, one.scored.pair.id) for one in (first, second)] == [(1, "p2"), (3, "p1")]
        assert (first.label, second.label) == (None, judgement("p1", 0.5, method="human"))
        assert second.scored.judgement == judgement("p1")
        assert store.folded("triage", 1, 10) == [second]
        assert store.folded("triage", 0, 1) == [first]
        store.purge("triage", 5.0)
        store.join(Joined(pairs=[pair("p4", 6.0)]))
        self.judge_all(store, "p4")
        [again] = store.unfolded("triage", 10, 0.0)
        assert store.fold(Fold(route="triage", folded=(again.order,), gate_state=b"s", lease=lease, revision=1))
        assert [one.number for one in store.folded("triage", 3, 10)] == [4]

    def test_a_fold_is_once_and_keeps_the_state(self, store: Store, other: Store):
        store.join(Joined(pairs=[pair("p1", 1.0), pair("p2", 2.0)]))
        self.judge_all(store, "p1", "p2")
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        first, second = (row.order for row in store.unfolded("triage", 10, 0.0))

        assert store.fold(Fold(route="triage", revision=1, folded=(first,), gate_state=b"one", lease=lease)) is True
        assert (
            store.fold(Fold(route="triage", revision=1, folded=(first, second), gate_state=b"twice", lease=lease))
            is False
        )

        assert other.gate_state("triage") == b"one"
        assert [row.order for row in other.unfolded("triage", 10, 0.0)] == [second]
        self.judge_all(store, "p1")
        assert [row.order for row in store.unfolded("triage", 10, 0.0)] == [second]
        assert store.depth("triage").scored == 2

    def test_a_fold_can_be_made_again(self, store: Store, other: Store):
        store.join(Joined(pairs=[pair("p2", 2.0), pair("p1", 1.0), pair("p3", 3.0)]))
        self.judge_all(store, "p1", "p2", "p3")
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        rows = store.unfolded("triage", 10, 0.0)
        made = [
            Fold(route="triage", folded=(rows[1].order, rows[0].order), gate_state=b"1", lease=lease, revision=4),
            Fold(route="triage", folded=(), gate_state=b"2", lease=lease, revision=5, label=9),
        ]
        assert [store.fold(fold) for fold in made] == [True, True]
        assert (other.folds("triage"), other.folds("other")) == (2, 0)
        again, labels = other.refold("triage", 1), other.refold("triage", 2)
        assert again is not None
        assert (again.revision, again.label, again.purged, again.watched) == (4, None, 0, ())
        assert [row.pair.id for row in again.scored] == ["p1", "p2"]
        assert labels is not None
        assert (labels.revision, labels.label, labels.purged, labels.scored) == (5, 9, 0, ())
        assert other.refold("triage", 3) is None
        store.purge("triage", 1.5)
        purged = other.refold("triage", 1)
        assert purged is not None
        assert (purged.purged, [row.pair.id for row in purged.scored]) == (1, ["p2"])

    def test_what_control_saw_last_is_kept_by_route(self, store: Store, other: Store):
        assert store.signals("triage") is None
        seen = Signals(at=5.0, teacher=Watch(words="open", alarm=True), overdue={Direction.FORWARD: 3})
        before = store.sequence()
        store.put_signals({"triage": Signals(at=4.0), "other": Signals(at=4.0)})
        store.put_signals({"triage": seen})
        assert (other.signals("triage"), other.signals("other")) == (seen, Signals(at=4.0))
        assert store.sequence() == before

    def test_the_state_of_a_successor_is_kept_with_the_fold_and_stays_where_nothing_is_said_of_it(self, store: Store):
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        assert store.successor_state("triage") is None
        both = Fold(route="triage", revision=1, folded=(), gate_state=b"one", lease=lease, successor_state=b"next")
        assert store.fold(both) is True
        assert store.fold(Fold(route="triage", revision=1, folded=(), gate_state=b"two", lease=lease)) is True
        assert (store.gate_state("triage"), store.successor_state("triage")) == (b"two", b"next")

    def test_what_was_folded_is_what_the_store_keeps_though_it_is_delivered_twice(self, store: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        store.judged([judgement("p1", 0.5)])
        store.judged([judgement("p1", 0.25)])  # before it was read: the last word
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        [scored] = store.unfolded("triage", 10, 0.0)
        assert scored.judgement.d == 0.25
        assert (
            store.fold(Fold(route="triage", revision=1, folded=(scored.order,), gate_state=b"x", lease=lease)) is True
        )
        store.judged([judgement("p1", -1.0)])
        assert [row.d for row in store.judgements("p1")] == [0.25]

    def test_a_fold_under_a_lost_lease_is_refused(self, store: Store, other: Store):
        store.join(Joined(pairs=[pair("p1", 1.0)]))
        self.judge_all(store, "p1")
        [scored] = store.unfolded("triage", 10, 0.0)
        old = store.acquire("control", "a", 10.0, 0.0)
        new = other.acquire("control", "b", 10.0, 50.0)
        assert old is not None
        assert new is not None
        assert (
            store.fold(Fold(route="triage", revision=1, folded=(scored.order,), gate_state=b"old", lease=old)) is False
        )
        assert store.gate_state("triage") is None
        assert (
            other.fold(Fold(route="triage", revision=1, folded=(scored.order,), gate_state=b"new", lease=new)) is True
        )

    def test_a_conversation_is_over_once_it_is_idle_and_judged(self, store: Store):
        store.join(
            Joined(
                pairs=[
                    pair("a1", 1.0, sticky_key="a"),
                    pair("a2", 2.0, sticky_key="a"),
                    pair("b1", 1.5, sticky_key="b"),
                    pair("busy", 9.0, sticky_key="a-busy"),
                    pair("unjudged", 1.0, sticky_key="z"),
                ]
            )
        )
        self.judge_all(store, "a1", "a2", "b1", "busy")
        assert turns_of(store.closed("triage", closing(waiting_since=2.0), 10)) == [("b", ["b1"]), ("a", ["a1", "a2"])]
        assert turns_of(store.closed("triage", closing(waiting_since=2.0), 1)) == [("b", ["b1"])]

    def test_a_conversation_is_never_read_before_all_of_its_turns_are_judged(self, store: Store):
        store.join(Joined(pairs=[pair("a1", 1.0, sticky_key="a"), pair("a2", 2.0, sticky_key="a")]))
        self.judge_all(store, "a1")
        assert store.closed("triage", closing(waiting_since=4.0), 10) == []
        self.judge_all(store, "a2")
        assert turns_of(store.closed("triage", closing(waiting_since=4.0), 10)) == [("a", ["a1", "a2"])]

    def test_a_conversation_waits_for_older_turns_of_others_until_these_have_waited_too_long(self, store: Store):
        store.join(Joined(pairs=[pair("a1", 1.0, sticky_key="a"), pair("b1", 2.0, sticky_key="b")]))
        self.judge_all(store, "b1")
        assert store.closed("triage", closing(waiting_since=0.9), 10) == []
        assert turns_of(store.closed("triage", closing(waiting_since=1.0), 10)) == [("b", ["b1"])]
        self.judge_all(store, "a1")
        assert turns_of(store.closed("triage", closing(waiting_since=0.9), 10)) == [("a", ["a1"]), ("b", ["b1"])]

    def test_a_key_that_never_pauses_is_cut_by_turns_and_by_time(self, store: Store):
        store.join(Joined(pairs=[pair(f"a{n}", float(n), sticky_key="a") for n in range(1, 6)]))
        self.judge_all(store, "a1", "a2", "a3", "a4")  # a5 waits for its judge
        busy = closing(idle_since=0.0, waiting_since=0.0)
        assert store.closed("triage", busy, 10) == []
        assert turns_of(store.closed("triage", replace(busy, turns=3), 10)) == [("a", ["a1", "a2", "a3"])]
        assert store.closed("triage", replace(busy, turns=5), 10) == []
        old = replace(busy, begun_before=1.5, span_s=1.0)
        [turns] = store.closed("triage", old, 10)
        assert turns_of([turns]) == [("a", ["a1", "a2"])]
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        folded = tuple(row.order for row in turns.scored)
        assert store.fold(Fold(route="triage", folded=folded, gate_state=b"", lease=lease, revision=1)) is True
        assert turns_of(store.closed("triage", replace(old, begun_before=3.5), 10)) == [("a", ["a3", "a4"])]

    def test_a_turn_is_watched_once_and_folded_when_its_conversation_is_over(self, store: Store, other: Store):
        store.join(Joined(pairs=[pair("a1", 1.0, sticky_key="a"), pair("a2", 2.0, sticky_key="a"), pair("b", 3.0)]))
        self.judge_all(store, "a1", "b")
        lease = store.acquire("control", "a", 10.0, 0.0)
        assert lease is not None
        [early] = store.unwatched("triage", 10, 0.0)
        watch = Fold(route="triage", folded=(), watched=(early.order,), gate_state=b"1", lease=lease, revision=1)
        assert store.fold(watch) is True
        assert store.unwatched("triage", 10, 0.0) == ()
        self.judge_all(store, "a2")
        assert [row.pair.id for row in store.unwatched("triage", 10, 0.0)] == ["a2", "b"]
        assert store.begun("triage", {"a", "key of b"}) == {"a"}
        later = store.unwatched("triage", 10, 0.0)[0].order
        passing = Fold(route="triage", folded=(), passed=(later,), gate_state=b"1", lease=lease, revision=1)
        assert store.fold(passing) is True
        assert [row.pair.id for row in store.unwatched("triage", 10, 0.0)] == ["b"]
        passed = other.refold("triage", 2)
        assert passed is not None
        assert (passed.watched, passed.purged) == ((), 0)
        [a, b] = store.closed("triage", closing(), 10)
        assert turns_of([a, b]) == [("a", ["a1", "a2"]), ("key of b", ["b"])]
        folded = tuple(row.order for row in a.scored)
        both = Fold(route="triage", folded=folded, watched=folded[1:], gate_state=b"2", lease=lease, revision=1)
        assert store.fold(both) is True
        assert store.begun("triage", {"a"}) == frozenset()
        assert store.fold(watch) is False
        again = [other.refold("triage", number) for number in (1, 3)]
        assert [([r.pair.id for r in one.scored], [r.pair.id for r in one.watched]) for one in again if one] == [
            ([], ["a1"]),
            (["a1", "a2"], ["a2"]),
        ]


def closing(**changes: float) -> Closing:
    """Idle since 5, and nothing is too long."""
    usual = Closing(idle_since=5.0, waiting_since=0.0, begun_before=-1e9, turns=1_000, span_s=1e9)
    return replace(usual, **changes)  # type: ignore[arg-type] # turns is the only integer and never among them


def turns_of(found: Sequence[Turns]) -> list[tuple[str, list[str]]]:
    return [(turns.key, [row.pair.id for row in turns.scored]) for turns in found]
