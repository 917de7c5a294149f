"""A/A: a fair pipeline passes, a leak and a loss are named, and few pairs decide nothing."""

import random

from router.types import Direction
from scoring.plumbing import ALPHA, Plumbing, plumbing
from tests.scoring.pairs import pair
from tutelage.contracts.pairs import Judgement, Pair


def judged(number: int, d: float | None, direction: Direction, **fields: object) -> tuple[Pair, Judgement]:
    said = Judgement(pair_id=str(number), rubric="r@1", method="judge", scores=(), d=d, scored_at=1.0, **fields)  # type: ignore[arg-type]
    return pair(number, direction=direction), said


def run(rng: random.Random, count: int, *, leak: float = 0.0, place: float = 0.0) -> Plumbing:
    """Rubric scores of one model twice: ties and noise, both ways; `leak` moves reverse pairs against the student, `place`
    is what the place that is shown first is worth."""
    pairs = []
    for number in range(count):
        direction = Direction.REVERSE if number % 2 else Direction.FORWARD
        d = rng.choice([0.0, 0.0, 0.0, 0.25, -0.25, 0.5, -0.5])
        if direction is Direction.REVERSE and rng.random() < leak:
            d = -0.5
        pairs.append(judged(number, d, direction, first_minus_second=place + rng.choice([-0.3, 0.0, 0.3])))
    return plumbing(count, pairs, {})


def test_a_fair_pipeline_passes():
    found = run(random.Random(3), 1_000)
    assert (found.verdict, found.alarms, found.lost) == ("PASS", (), 0)
    assert all(seen.lower < 0 < seen.upper for seen in found.directions.values())
    assert found.order is not None
    assert found.order.lower < 0 < found.order.upper
    assert found.order_alarm is None


def test_false_alarms_are_rare():
    seen = [run(random.Random(seed), 500) for seed in range(100)]
    assert sum(bool(found.alarms) for found in seen) <= 100 * ALPHA + 4, (
        "four more has a chance of less than 1 in 1,000"
    )
    assert sum(found.order_alarm is not None for found in seen) <= 100 * ALPHA + 4


def test_a_judge_who_minds_the_order_is_named_and_is_no_fault_of_the_plumbing():
    found = run(random.Random(3), 1_000, place=0.2)
    assert found.order is not None
    assert found.order.lower > 0.05
    assert (found.verdict, found.alarms) == ("PASS", ())
    assert found.order_alarm is not None
    assert found.order_alarm.startswith("the judge minds the order: the answer shown first has +0.")
    assert plumbing(3, [], {}).order is None


def test_a_leak_of_identity_is_found_in_its_direction():
    found = run(random.Random(5), 500, leak=0.5)
    assert found.verdict == "FAIL"
    (alarm,) = found.alarms
    assert alarm.startswith("reverse: the mean of d is -0.")


def test_few_pairs_are_no_all_clear():
    assert run(random.Random(1), 20).verdict == "INCONCLUSIVE"
    assert plumbing(3, [], {"shutdown": 3}).verdict == "INCONCLUSIVE"


def test_what_left_no_trace_and_what_was_asked_otherwise_are_alarms():
    found = plumbing(10, [judged(n, 0.0, Direction.FORWARD) for n in range(5)], {"parity": 1, "truncated": 1})
    assert found.lost == 3
    assert len(found.alarms) == 2


def test_what_has_no_plain_score_is_counted_apart():
    pairs = [
        judged(1, None, Direction.FORWARD, failure="judge_unscorable"),
        judged(2, -1.0, Direction.FORWARD, failure="teacher_failed"),
        judged(3, None, Direction.FORWARD, failure="no_reference"),
    ]
    found = plumbing(3, pairs, {})
    assert found.missing == {"judge_unscorable": 1, "teacher_failed": 1, "no_d": 1}
    assert found.directions == {}
