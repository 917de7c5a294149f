"""A judge who minds the order is found, one who does not is left alone, and neither moves a rollout."""

import random

import pytest

from router.events import Hold
from scoring.gates import controller
from scoring.gates.facts import ALL_WELL
from scoring.gates.order import A_ORDER, Order, order_effect
from scoring.gates.verdict import Verdict
from tests.scoring.gates.made import epoch, rollout, unit
from tutelage.contracts.decisions import Unit


def effects(count: int, favour: float, seed: int = 3) -> list[Unit]:
    """Units of a judge who adds `favour`, on average, to what it is shown first; the answers' own difference is noise."""
    draw = random.Random(seed)
    return [unit(at, 0.0, metrics={"order": max(-1.0, min(1.0, favour + draw.gauss(0.0, 0.3)))}) for at in range(count)]


@pytest.mark.parametrize("favour", [0.15, -0.15])
def test_a_favour_for_either_place_is_an_alarm(favour: float):
    found = order_effect(Order().after(effects(400, favour)))
    assert found.verdict is Verdict.FAIL
    assert f"mean {favour:+.1f}" in found.words


def test_a_judge_who_does_not_mind_the_order_raises_none():
    order = Order()
    for one in effects(5_000, 0.0):
        order = order.after([one])
        assert order_effect(order).value < A_ORDER
    assert order.mean == pytest.approx(0.0, abs=0.02)


def test_the_mean_time_to_a_false_alarm_at_the_tolerance_is_what_is_promised():
    lengths = []
    for seed in range(20):
        order, at = Order(), 0
        for one in effects(20_000, 0.05, seed):
            order, at = order.after([one]), at + 1
            if order_effect(order).value >= A_ORDER:
                break
        lengths.append(at)
    assert sum(lengths) / len(lengths) >= A_ORDER


def test_the_alarm_holds_nothing_and_is_forgotten_with_its_judge():
    rules = epoch()
    state = controller.fold_all(controller.initial(rollout(), rules), effects(400, 0.3), rollout(), rules)
    assert order_effect(state.order).verdict is Verdict.FAIL
    again = controller.decode(controller.encode(state))
    assert order_effect(again.order) == order_effect(state.order)
    ruling = controller.decide(state, rollout(), rules, ALL_WELL, 1e9)
    assert not isinstance(ruling.event, Hold)
    assert controller.initial(rollout(), rules).order.n == 0


def test_units_that_no_judge_has_seen_say_nothing():
    assert order_effect(Order().after([unit(1)])).words.startswith(
        "the answer shown first against the second: no judge"
    )
