"""The part of the store's contract that judges rely on. `contract.StoreContract` includes it and gives the fixtures."""

from typing import Any

from tests.tutelage.store.made import judgement, pair
from tutelage.contracts.pairs import AnchorReading
from tutelage.contracts.records import Spending
from tutelage.store.base import AnchorState, Joined, Judging, Store

DAY_S = 86_400.0
JUDGING = Judging(route="triage", rubric="triage@1", judge="claude", judge_version="v1", prompt_hash="p")


def reading(anchor: str, at: float, d: float | None, **fields: Any) -> AnchorReading:
    plain: dict[str, Any] = {
        "route": "triage",
        "rubric": "triage@1",
        "judge": "claude",
        "judge_version": "v1",
        "prompt_hash": "p",
        "reference_d": None,
        "label_d": None,
        "cost_nusd": 5,
    }
    return AnchorReading(id=f"{anchor} at {at}", anchor=anchor, at=at, d=d, **(plain | fields))


def paid(spending: Spending) -> tuple[int, int, int]:
    return spending.calls, spending.unpriced, spending.nusd


class JudgeContract:
    """`base.JudgeStore`."""

    def test_what_judging_cost_is_summed_by_route_and_day(self, store: Store):
        store.join(Joined(pairs=[pair(name, 1.0) for name in "abcd"]))
        judged: dict[str, Any] = {"method": "judge", "judge": "claude"}
        store.judged([judgement("a", cost_nusd=7, **judged), judgement("b", cost_nusd=None, **judged)])
        store.judged([judgement("c", method="judge"), judgement("d"), judgement("a", scored_at=DAY_S + 1, **judged)])
        assert paid(store.spend("triage", 0)) == (2, 1, 7)
        assert paid(store.spend("triage", 1)) == (1, 1, 0)
        assert paid(store.spend("other", 0)) == (0, 0, 0)

    def test_a_charge_adds_to_the_day(self, store: Store):
        row = Spending(route="triage", day=3, account="judge", calls=1, unpriced=1, nusd=4)
        store.charge(row)
        store.charge(row)
        assert paid(store.spend("triage", 3)) == (2, 2, 8)

    def test_the_rate_draws_from_all_pairs_that_nothing_else_speaks_against(self, store: Store):
        excluded = [pair("n", 2.0, excluded="not_drawn"), pair("p", 2.0, excluded="parity")]
        store.join(Joined(pairs=[pair("a", 1.0), pair("b", 2.0), *excluded, pair("z", 2.0, route="other")]))
        store.judged([judgement("b")])
        assert store.drawable("triage", 0.0) == 3
        assert store.drawable("triage", 1.0) == 2
        assert (store.scored("triage", 0.0), store.scored("triage", 2.0)) == (1, 0)

    def test_anchors_stand_where_their_readings_left_them(self, store: Store):
        assert store.anchors(JUDGING) == {}
        store.put_readings([reading("x", 2.0, None), reading("x", 3.0, 0.5), reading("x", 4.0, -0.5)])
        store.put_readings([reading("y", 1.0, None), reading("x", 9.0, 0.0, prompt_hash="other")])
        assert store.anchors(JUDGING) == {
            "x": AnchorState(last_at=4.0, reference_d=0.5),
            "y": AnchorState(last_at=1.0, reference_d=None),
        }

    def test_readings_are_read_in_the_order_of_their_writing_and_charged_once(self, store: Store):
        first, second = reading("x", 2.0, 0.5), reading("x", 1.0, 0.5, cost_nusd=None)
        store.put_readings([first, second])
        store.put_readings([first, reading("z", 1.0, 0.0, route="other")])
        ((one, found), (two, after)) = store.readings("triage", 0, 10)
        assert (found, after) == (first, second)
        assert store.readings("triage", one, 10) == [(two, second)]
        assert store.readings("triage", 0, 1) == [(one, first)]
        assert paid(store.spend("triage", 0)) == (2, 1, 5)
