"""Every required cell must pass: a good average hides nothing. Error rates by seeded simulation."""

import math
import random
from dataclasses import replace

import msgspec
import pytest

from router.events import Advance
from router.rollout import Phase, Rollout, step
from scoring.gates.codec import decode, encode
from scoring.gates.controller import decide, fold_all, initial, proven
from scoring.gates.facts import ALL_WELL
from scoring.gates.harm import roll_back, step_down, warm
from scoring.gates.numbers import cells, with_bounds
from scoring.gates.required import required
from scoring.gates.slices import NAMING_UNITS
from scoring.gates.state import State
from scoring.gates.verdict import Verdict
from scoring.gates.view import look
from tests.scoring.gates.made import epoch, rollout, unit
from tutelage.contracts.decisions import Epoch, Unit


def after(units: list[Unit], rules: Epoch) -> State:
    return fold_all(initial(rollout(), rules), units, rollout(), rules)


def lagging(state: State, rules: Epoch) -> list[str]:
    view = look(state, rollout(), rules, ALL_WELL, 0.0)
    return [finding.gate for finding in required(view) if finding.verdict is not Verdict.PASS]


def test_rare_catastrophes_block_though_the_mean_is_high():
    rules = epoch(severe=0.02)
    units = [unit(n, -1.0 if n % 20 == 0 else 0.3) for n in range(400)]
    assert lagging(after(units, rules), rules) == ["all/severe"]


def test_a_slice_that_is_worse_blocks_though_the_mean_is_high():
    rules = epoch(slices=("slice",))
    bad = [unit(n, -0.1, slices={"slice": "refunds"}) for n in range(0, 600, 10)]
    good = [unit(n, 0.1, slices={"slice": "orders"}) for n in range(600) if n % 10]
    units = sorted([*bad, *good], key=lambda one: one.last_at)
    state = after(units, rules)
    assert lagging(state, rules) == ["slice:refunds/quality"]
    ruling = decide(state, rollout(), rules, ALL_WELL, 1.0)
    assert ruling.event is None
    assert "slice:refunds/quality: log E" in ruling.reason
    assert not proven(state, rollout(), rules)


@pytest.mark.parametrize(
    ("attempt", "weight", "dearer"), [(2, 1.0, 3.0), (10, 1.0, 55.0), (1, 0.25, 4.0), (10, 0.25, 220.0)]
)
def test_each_retraining_and_each_part_asks_for_more_evidence_on_every_rung(attempt: int, weight: float, dearer: float):
    """α_v = 2α/(v(v+1)), times ω: with as many tries as one likes a bad student passes with 2α in all."""
    once, rules = rollout(), msgspec.structs.replace(epoch(), weight=weight)
    again = replace(once, alpha_index=attempt)
    state = fold_all(initial(once, rules), [unit(n, 0.0) for n in range(80)], once, rules)
    first, later = (look(state, one, of, ALL_WELL, 0.0) for one, of in ((once, epoch()), (again, rules)))
    assert [b - a for a, b in zip(first.needs[1:], later.needs[1:], strict=True)] == [
        pytest.approx(math.log(dearer))
    ] * len(once.ladder.shares_bp[1:])
    assert first.needs[0] == later.needs[0] == 0.0
    assert [found.need for found in required(later)] == [later.next_need] * len(required(later))


def test_a_promotion_past_a_hold_is_not_on_the_evidence_alone():
    state, held = after([unit(n, 0.1) for n in range(300)], epoch()), replace(rollout(), phase=Phase.HELD)
    assert proven(state, rollout(), epoch())
    assert proven(state, replace(held, holds=frozenset({"operator"})), epoch())
    assert not proven(state, replace(held, holds=frozenset({"judge"})), epoch())


def test_a_rest_of_many_small_values_is_a_cell_too():
    rules = epoch(slices=("slice",))
    units = [unit(n, 0.1 if n % 5 else -0.4, slices={"slice": "big" if n % 5 else f"v{n}"}) for n in range(600)]
    assert lagging(after(units, rules), rules) == ["slice:*/quality"]


def test_a_value_below_its_share_of_the_traffic_is_no_cell():
    rules = epoch(slices=("slice",))
    units = [unit(n, 0.1 if n % 50 else -1.0, slices={"slice": "big" if n % 50 else "rare"}) for n in range(600)]
    assert lagging(after(units, rules), rules) == []


def test_nothing_passes_before_slices_are_named():
    rules = epoch(slices=("slice",))
    state = after([unit(n, 1.0, slices={"slice": "a"}) for n in range(NAMING_UNITS - 1)], rules)
    assert lagging(state, rules) == ["slices"]
    assert decide(state, rollout(), rules, ALL_WELL, 1.0).event is None


def test_floor_and_disagreement_have_their_own_margins():
    rules = epoch(floor=0.7, disagreement=0.1)
    sinking = [unit(n, 0.1, metrics={"floor": 0.65, "disagreement": -0.05}) for n in range(400)]
    assert lagging(after(sinking, rules), rules) == ["all/floor"]
    apart = [unit(n, 0.1, metrics={"floor": 0.9, "disagreement": -0.2}) for n in range(400)]
    assert lagging(after(apart, rules), rules) == ["all/disagreement"]


def test_severe_regressions_are_a_cell_of_their_own_only_where_scores_are_more_than_pass_or_fail():
    rules, draw = epoch(severe=0.05), random.Random(1)
    units = [unit(n, draw.choice([-1.0, 0.0, 0.0, 1.0])) for n in range(200)]
    names = [numbers.cell for numbers in cells(look(after(units, rules), rollout(), rules, ALL_WELL, 0.0))]
    assert "forward/all/severe" not in names
    graded = after([*units, unit(200, 0.25)], rules)
    names = [numbers.cell for numbers in cells(look(graded, rollout(), rules, ALL_WELL, 0.0))]
    assert names[:2] == ["forward/all/quality", "forward/all/severe"]


def test_a_slice_named_like_a_format_is_only_a_name():
    rules = epoch(slices=("slice",))
    state = after([unit(n, 0.0, slices={"slice": "{need}{0}"}) for n in range(120)], rules)
    assert decide(state, rollout(), rules, ALL_WELL, 1.0).reason


def test_a_decision_replayed_from_its_bytes_reads_the_same_numbers():
    rules = epoch(severe=0.05, slices=("slice",))
    draw = random.Random(3)
    units = [unit(n, draw.choice([-0.3, 0.0, 0.4]), slices={"slice": draw.choice("ab")}) for n in range(300)]
    state = after(units, rules)
    again = decode(encode(state))
    first, second = (decide(s, rollout(), rules, ALL_WELL, 1.0) for s in (state, again))
    assert isinstance(first.event, Advance)
    assert (second.event, second.cells, second.detectors) == (first.event, first.cells, first.detectors)
    names = [numbers.cell for numbers in with_bounds(look(state, rollout(), rules, ALL_WELL, 0.0))]
    assert names == [
        *("forward/all/quality", "forward/all/severe", "forward/slice:a/quality", "forward/slice:b/quality"),
        *("fresh:forward/all/quality", "futility:forward/all/quality"),
    ]


def test_a_student_at_the_margin_of_one_slice_passes_at_most_as_often_as_promised():
    """Slice b stands at its margin of -.1, where H0 holds: the first live rung may be reached in α_1 = .045 of the runs."""
    rules = epoch(slices=("slice",))
    draw = random.Random(1)
    runs, reached = 100, 0
    for _ in range(runs):
        reached += _climbs(rules, draw)
    # 11 of 100 would have probability .005 at .045.
    assert reached <= 10


def _climbs(rules: Epoch, draw: random.Random) -> bool:
    """Whether a rollout leaves shadow within 400 units, a look after every ten."""
    now: Rollout = rollout()
    state = initial(now, rules)
    for start in range(0, 400, 10):
        units = []
        for n in range(start, start + 10):
            weak = draw.random() < 0.3
            mean, sign = (-0.1, draw.choice([-0.2, 0.2])) if weak else (0.05, draw.choice([-0.2, 0.2]))
            units.append(unit(n, mean + sign, slices={"slice": "b" if weak else "a"}))
        state = fold_all(state, units, now, rules)
        event = decide(state, now, rules, ALL_WELL, float(start)).event
        if isinstance(event, Advance):
            return True
        if event is not None:
            now, _ = step(now, event)
    return False


def test_a_slice_that_climbs_apart_needs_its_part_of_every_alpha_and_its_own_alarms():
    whole, part = epoch(), msgspec.structs.replace(epoch(), weight=0.25)
    state = after([unit(at) for at in range(50)], part)
    seen = [look(state, rollout(), rules, ALL_WELL, 0.0) for rules in (whole, part)]
    more = [apart - alone for alone, apart in zip(seen[0].needs, seen[1].needs, strict=True)]
    assert more == pytest.approx([0.0, math.log(4), math.log(4)])
    alarms = [[alarm(view).need for alarm in (warm, step_down, roll_back)] for view in seen]
    assert alarms == [[100.0, 1_000.0, 10_000.0], [400.0, 4_000.0, 40_000.0]]
