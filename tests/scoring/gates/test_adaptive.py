"""What has passed is watched; what has not gets the pairs that this saves; no cell's guarantee is touched."""

import random

from msgspec import structs

from router.events import Advance
from router.rollout import Rollout, step
from scoring.evidence import POOLED, QUALITY
from scoring.gates.accounts import mean_d
from scoring.gates.adaptive import Rates, plan
from scoring.gates.controller import decode, encode, fold_all, initial
from scoring.gates.facts import ALL_WELL
from scoring.gates.harm import A_DOWN
from scoring.gates.state import FRESH_BLOCK, State
from scoring.gates.view import look
from tests.scoring.gates.made import epoch, rollout, unit
from tutelage.contracts.decisions import Unit

RULES = epoch(slices=("slice",), adaptive="slice")


def planned(state: State, standing: Rollout | None = None) -> Rates:
    return plan(look(state, standing or rollout(), RULES, ALL_WELL, 0.0), budget_bp=5_000, watch_bp=1_000)


def after(units: list[Unit]) -> State:
    return fold_all(initial(rollout(), RULES), units, rollout(), RULES)


def test_pairs_go_where_they_are_still_needed():
    draw = random.Random(1)
    mean = {"good": 0.1, "even": -0.08}
    values = [draw.choices(list(mean), [80, 20])[0] for _ in range(600)]
    units = [unit(n, mean[v] + draw.choice([-0.3, 0.3]), slices={"slice": v}) for n, v in enumerate(values)]
    assert planned(after(units[:50])) == Rates(forward_bp=5_000)  # slices are not named yet
    rates = planned(after(units))
    assert rates.watched == ("good",)
    assert rates.forward_bp == 10_000  # 5,000 + 4,000 x .8 / .2, at most all


def test_at_stage_entry_all_return_to_the_full_rate_until_a_block_has_been_seen_there():
    """Both values are far past every threshold: what was shown below is seen again here before it is only watched."""
    good = [unit(n, 0.2, slices={"slice": "ab"[n % 2]}) for n in range(1_000)]
    state, below = after(good), rollout()
    assert planned(state).watched == ("a", "b")
    above, _ = step(below, Advance(at=9.0, actor="test", reason="passed"))
    entered = [structs.replace(one, id=f"again-{one.id}", revision=above.revision) for one in good]
    late = fold_all(state, good, above, RULES)  # admitted below, counted above
    assert planned(late, above) == Rates(forward_bp=5_000)
    almost = fold_all(late, entered[: FRESH_BLOCK - 1], above, RULES)
    assert planned(almost, above) == Rates(forward_bp=5_000)
    seen = fold_all(almost, entered[FRESH_BLOCK - 1 : FRESH_BLOCK], above, RULES)
    assert planned(seen, above).watched == ("a", "b")
    assert planned(decode(encode(seen)), above) == planned(seen, above)


def test_nothing_is_lowered_before_every_cell_of_all_units_has_passed():
    units = [unit(n, 0.2 if n % 2 else -0.35, slices={"slice": "ab"[n % 2]}) for n in range(400)]
    assert planned(after(units)) == Rates(forward_bp=5_000)


def test_unequal_rates_leave_the_pooled_mean_and_the_shares_where_equal_ones_put_them():
    """Value a has 80 % of the traffic and is drawn at a tenth of b's rate: the pooled mean is .8 x .1 + .2 x -.3 = .02."""
    draw, units = random.Random(2), []
    for n in range(20_000):
        common = draw.random() < 0.8
        if draw.random() < (0.1 if common else 1.0):
            weight = 1000 if common else 100
            units.append(
                unit(n, 0.1 if common else -0.3, slices={"slice": "a" if common else "b"}, weight_milli=weight)
            )
    state = after(units)
    pooled = mean_d(state.overall.evidence)
    assert pooled is not None
    assert abs(pooled - 0.02) < 0.02
    assert abs(state.traffic["slice:a"] / sum(state.traffic.values()) - 0.8) < 0.03
    assert {w for _, w, _ in state.cells["slice:b", QUALITY].evidence.counts} == {1000}
    assert {w for _, w, _ in state.cells[POOLED, QUALITY].evidence.counts} == {1000, 100}


def test_a_rubric_s_risk_weighs_in_pooled_cells_only():
    risky, plain = unit(1, 0.1, slices={"slice": "a"}), unit(2, 0.1, slices={"slice": "b"}, risk_milli=250)
    state = after([risky, plain])
    assert {w for _, w, _ in state.overall.evidence.counts} == {1000, 250}
    assert {w for _, w, _ in state.cells["slice:b", QUALITY].evidence.counts} == {1000}
    assert set(state.traffic.values()) == {1000}


def test_what_is_drawn_more_often_raises_no_alarm_that_the_traffic_would_not():
    """Three quarters of the traffic are equal; the rest, allowed as much as its own margin, is three in four of the pairs."""
    units = [
        unit(n, -0.09, slices={"slice": "small"}, weight_milli=111) if n % 4 else unit(n, slices={"slice": "big"})
        for n in range(2_000)
    ]
    plain = [structs.replace(one, weight_milli=1000) for one in units]
    assert look(after(units), rollout(), RULES, ALL_WELL, 0.0).detectors["down"] < A_DOWN
    assert look(after(plain), rollout(), RULES, ALL_WELL, 0.0).detectors["down"] > A_DOWN
