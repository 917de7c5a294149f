"""Detectors: one false-alarm budget, guardrails, and the comparison of users whom different arms serve."""

import random
from typing import Any

import pytest
from msgspec import structs

from router.events import Hold
from router.types import Direction
from scoring.gates.codec import decode, encode
from scoring.gates.controller import decide, fold_all, fold_servings, initial
from scoring.gates.facts import ALL_WELL
from scoring.gates.harm import A_BACK, A_HOLD, DETECTOR
from scoring.gates.latency import FROZEN_AT, Baselines
from scoring.gates.state import State, fold
from scoring.gates.streams import AT_ONCE, QUALITY_SHARE, WHOLE, Wiring, budget
from scoring.gates.view import look
from tests.scoring.gates.made import epoch, rollout, unit
from tutelage.contracts.decisions import Epoch, Unit

GUARDED = epoch(severe=0.05, guardrails={"error": 0.05, "slow_total": 0.1, "outcome": 0.1})
NAMED = {"slice": ("a", "b"), "tier": ()}


def after(units: list[Unit], rules: Epoch) -> State:
    return fold_all(initial(rollout(), rules), units, rollout(), rules)


def alarms(state: State, rules: Epoch) -> dict[str, float]:
    return look(state, rollout(), rules, ALL_WELL, 0.0).detectors


@pytest.mark.parametrize("wiring", list(Wiring))
@pytest.mark.parametrize("rules", [epoch(), GUARDED, epoch(slices=("slice", "tier"))])
def test_the_parts_of_the_budget_sum_to_one_and_quality_has_most_of_it(rules: Epoch, wiring: Wiring):
    parts = budget(rules, NAMED if rules.gates.slices else {}, wiring)
    assert sum(parts.values()) == pytest.approx(1.0)
    quality = sum(part for (_, where, metric), part in parts.items() if (where, metric) == ("all", "quality"))
    assert quality == pytest.approx(1.0 if len(parts) <= 3 else QUALITY_SHARE)


def test_errors_of_the_student_raise_the_alarm_though_scores_are_even():
    failing = [unit(n, 0.0, metrics={"severe": 0.0, "error": -1.0 if n % 3 == 0 else 0.0}) for n in range(300)]
    even = [unit(n, 0.0, metrics={"severe": 0.0, "error": 0.0}) for n in range(300)]
    assert alarms(after(failing, GUARDED), GUARDED)["back"] > A_BACK
    assert alarms(after(even, GUARDED), GUARDED)["hold"] < A_HOLD
    event = decide(after(failing[:60], GUARDED), rollout(), GUARDED, ALL_WELL, 1.0).event
    assert isinstance(event, Hold)
    assert event.hold == DETECTOR


def test_slow_is_measured_from_the_teacher_s_frozen_p95():
    teacher = {"teacher_total": (1000.0,), "teacher_first_token": (10.0,)}
    baselines = Baselines()
    for n in range(FROZEN_AT):
        assert not baselines.limit_ms
        baselines = baselines.after(unit(n, times_ms=teacher | {"teacher_total": (1000.0 + n,)}))
    assert baselines.limit_ms == {"first_token": pytest.approx(60.0), "total": pytest.approx(1.2 * 1095.0)}
    assert baselines.after(unit(1, times_ms={"teacher_total": (9e9,)})) == baselines

    def served(total_ms: float, direction: Direction = Direction.REVERSE) -> Unit:
        return unit(1, 0.1, direction=direction, times_ms={"student_total": (total_ms,)})

    assert baselines.read(served(1_400.0)).metrics["slow_total"] == -1.0
    assert baselines.read(served(1_300.0)).metrics["slow_total"] == 0.0
    assert "slow_total" not in baselines.read(served(1_400.0, Direction.FORWARD)).metrics  # nobody waited for a shadow
    begun = [unit(n, 0.1, times_ms=teacher) for n in range(FROZEN_AT)]
    slow = [served(1_400.0)] * 60
    assert alarms(after(begun, GUARDED), GUARDED)["hold"] < A_HOLD
    assert alarms(after([*begun, *slow], GUARDED), GUARDED)["hold"] > A_HOLD
    assert (
        "raised most by reverse/all/slow_total"
        in decide(after([*begun, *slow], GUARDED), rollout(), GUARDED, ALL_WELL, 1.0).reason
    )


def talk(n: int, rng: random.Random, *, later: float = 1.0, **changes: Any) -> Unit:
    """A conversation of four turns, a twentieth of both arms' answers slow by chance; from the second on the student takes
    `later` times as long."""
    teacher, student = (tuple(rng.expovariate(1 / 300) + 500.0 for _ in range(4)) for _ in range(2))
    student = (student[0], *(later * taken_ms for taken_ms in student[1:]))
    return unit(n, 0.0, turns=4, times_ms={"teacher_total": teacher, "student_total": student}, **changes)


def test_answers_that_are_slow_from_the_second_turn_on_raise_the_alarm_and_one_slow_turn_is_not_averaged_away():
    rules = structs.replace(GUARDED, unit="conversation")
    rng = random.Random(4)
    begun = [talk(n, rng) for n in range(FROZEN_AT)]
    even = [talk(n, rng, direction=Direction.REVERSE) for n in range(200)]
    slower = [talk(n, rng, later=2.0, direction=Direction.REVERSE) for n in range(200)]
    assert alarms(after([*begun, *even], rules), rules)["hold"] < A_HOLD
    assert alarms(after([*begun, *slower], rules), rules)["back"] > A_BACK
    limits = after(begun, rules).baselines[WHOLE]
    one = unit(1, 0.0, direction=Direction.REVERSE, times_ms={"student_total": (1.0, 1.0, 1.0, 3_000.0)})
    assert sum(one.times_ms["student_total"]) / 4 < limits.limit_ms["total"] < 3_000.0
    assert limits.read(one).metrics["slow_total"] == -0.25


def test_the_teacher_s_p95_is_of_the_turns_that_it_is_held_against():
    """Later turns take longer: those of a student like its teacher are not slow for that."""
    rules, grown = structs.replace(GUARDED, unit="conversation"), (100.0, 400.0, 700.0, 1_000.0)
    begun = [unit(n, 0.0, times_ms={"teacher_total": grown}) for n in range(FROZEN_AT)]
    firsts = [unit(n, None, times_ms={"teacher_total": grown[:1]}) for n in range(FROZEN_AT)]
    state = fold_all(initial(rollout(), rules), begun, rollout(), rules, firsts)
    assert state.baselines[WHOLE].limit_ms["total"] == pytest.approx(1_200.0)
    assert state.baselines[AT_ONCE].limit_ms["total"] == pytest.approx(150.0)
    assert decode(encode(state)).baselines == state.baselines


def between(student: float, count: int, seed: int = 1) -> list[Unit]:
    """Users of both arms at random; teachers' outcomes have mean .8, students' `student`."""
    draw = random.Random(seed)
    made = []
    for n in range(count):
        reverse = draw.random() < 0.5
        mean = student if reverse else 0.8
        served = {"served": float(draw.random() < mean)}
        direction = Direction.REVERSE if reverse else Direction.FORWARD
        made.append(unit(n, None, direction=direction, metrics=served))
    return made


def test_harm_that_no_pair_shows_is_seen_between_users():
    begun = initial(rollout(), GUARDED)
    assert alarms(fold_servings(begun, between(0.3, 1_500), rollout(), GUARDED), GUARDED)["back"] > A_BACK
    assert alarms(fold_servings(begun, between(0.8, 1_500), rollout(), GUARDED), GUARDED)["hold"] < A_HOLD


def test_how_requests_were_served_is_no_evidence_and_one_user_weighs_no_more_than_others():
    rules = epoch(severe=0.05, guardrails={"outcome": 0.1}, max_units_per_key=3)
    begun = initial(rollout(), rules)
    served = [structs.replace(one, key=f"user-{n // 10}") for n, one in enumerate(between(0.3, 1_500))]
    state = fold_servings(begun, served, rollout(), rules)
    assert (state.evidence, state.tallies, state.traffic) == (begun.evidence, {}, {})
    assert state.fresh.evidence.units == 0
    assert max(max(block.keys.values()) for block in state.blocks.values()) <= 3
    alone = fold_servings(begun, [structs.replace(one, key="script") for one in served], rollout(), rules)
    uncapped = epoch(severe=0.05, guardrails={"outcome": 0.1})
    heard = fold_servings(initial(rollout(), uncapped), served, rollout(), uncapped)
    assert alarms(alone, rules)["hold"] < A_HOLD < alarms(heard, uncapped)["hold"]


def test_each_teacher_stands_in_one_difference_only():
    state = initial(rollout(), GUARDED)
    student = unit(0, 0.0, direction=Direction.REVERSE, metrics={"served": 0.0})
    teachers = [unit(n, 0.0, metrics={"served": 1.0}) for n in range(1, 8)]
    stream = (Direction.REVERSE, "all", "outcome")
    state = fold_servings(state, teachers, rollout(), GUARDED)
    assert not state.comparisons  # nobody waited for them
    state = fold_servings(state, [student, *teachers[:4]], rollout(), GUARDED)
    assert stream not in state.streams
    again = decode(encode(state))
    assert encode(again) == encode(state)
    state = fold_servings(again, teachers[4:5], rollout(), GUARDED)
    assert (state.streams[stream] > 1.0).any()
    assert not state.comparisons


def test_false_alarms_keep_their_run_length_with_every_stream_at_its_tolerance():
    """At -δ_r everywhere, hold (A = 100) must need 100 units on average; a third of the runs is the error of the mean."""
    rules = epoch(severe=0.05, guardrails={"error": 0.05, "refusal": 0.05})
    draw, lengths = random.Random(2), []
    for _ in range(40):
        state, count = initial(rollout(), rules), 0
        while count < 2_000 and alarms(state, rules)["hold"] < A_HOLD:
            bad = draw.random() < 0.05
            metrics = {"severe": -float(bad), "error": -float(draw.random() < 0.05), "refusal": 0.0}
            state = fold(state, unit(count, -1.0 if bad else 0.0, metrics=metrics), rollout(), rules)
            count += 1
        lengths.append(count)
    assert sum(lengths) / len(lengths) > 100
