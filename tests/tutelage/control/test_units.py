from dataclasses import replace
from typing import Any

import msgspec
import pytest

from router.types import Direction
from tests.tutelage.control.made import NOW, exchange, shadow
from tests.tutelage.control.test_join import HERE
from tutelage.contracts.pairs import Judgement, Outcome, Pair
from tutelage.control.conclude import conclude
from tutelage.control.units import of_conversations, of_requests, of_turns
from tutelage.store.base import Scored, Turns


def scored(order: int, d: float | None = 0.5, failure: str | None = None, **pair: Any) -> Scored:
    made = conclude(exchange(f"x{order}", conversation="c", admitted_at=NOW + order), (shadow(f"x{order}"),), HERE)
    assert isinstance(made, Pair)
    values = {name: getattr(made, name) for name in made.__struct_fields__} | pair
    judgement = Judgement(
        pair_id=made.id, rubric="exact@1", method="check", scores=(), d=d, failure=failure, scored_at=NOW
    )
    return Scored(order=order, pair=Pair(**values), judgement=judgement)


def test_each_request_is_a_unit():
    cut = of_requests([scored(1, 0.25), scored(2, -1.0)])
    assert cut.orders == (1, 2)
    assert [(unit.id, unit.d, unit.missing) for unit in cut.units] == [("x1", 0.25, None), ("x2", -1.0, None)]


@pytest.mark.parametrize(
    ("d", "failure", "expected"),
    [
        (-0.8, "student_failed", (-0.8, None)),
        (-0.2, "teacher_failed", (-0.2, "teacher_failed")),
        (None, "judge_unscorable", (None, "judge_unscorable")),
        (None, "student_lost", (None, "student_lost")),
        (None, None, (None, "no_score")),
    ],
)
def test_what_has_no_plain_score_is_named(
    d: float | None, failure: str | None, expected: tuple[float | None, str | None]
):
    (unit,) = of_requests([scored(1, d, failure)]).units
    assert (unit.d, unit.missing) == expected


def test_a_conversation_is_the_mean_of_its_turns():
    cut = of_conversations([Turns(key="c", scored=(scored(1, 0.5), scored(2, -0.5), scored(4, 0.6)))])
    assert cut.orders == (1, 2, 4)
    (unit,) = cut.units
    assert unit.d == pytest.approx(0.2)
    assert (unit.id, unit.key, unit.first_at, unit.last_at) == ("x1", "c", NOW + 1, NOW + 4)


def test_a_turn_that_could_not_be_scored_counts_as_the_worst_in_its_conversation():
    cut = of_conversations([Turns(key="c", scored=(scored(1, 0.5), scored(2, None, "judge_unscorable")))])
    (unit,) = cut.units
    assert (unit.d, unit.missing) == (-0.25, "judge_unscorable")


def test_detectors_read_a_turn_that_nobody_could_score_as_nothing_and_the_others_as_they_are():
    turns = (scored(1, -0.9), scored(2, None, "judge_unscorable"), scored(3, -0.6), scored(4, 0.4, "teacher_failed"))
    (unit,) = of_conversations([Turns(key="c", scored=turns)]).units
    assert unit.harm == {"quality": pytest.approx(-1.5 / 4), "severe": pytest.approx(-2 / 4)}
    assert unit.d == pytest.approx((-0.9 - 1.0 - 0.6 + 0.4) / 4)
    nothing = of_conversations([Turns(key="c", scored=(scored(1, None, "judge_unscorable"),) * 2)]).units
    assert [one.harm for one in nothing] == [{}]
    assert [one.harm for one in of_requests([scored(1), scored(2, None, "judge_unscorable")]).units] == [{}, {}]


def test_a_turn_says_at_once_what_needs_no_judge_and_its_conversation_says_all():
    found = {"error": Outcome(teacher=0, student=1), "total_ms": Outcome(teacher=5, student=7)}
    made = scored(1, -0.5)
    turn = replace(
        made, judgement=msgspec.structs.replace(made.judgement, outcomes=found, student_score=0.25, method="judge")
    )
    (early,) = of_turns([turn])
    assert (early.d, early.missing, early.metrics) == (None, None, {"error": -1.0})
    assert early.times_ms == {"teacher_total": (5.0,), "student_total": (7.0,)}
    (whole,) = of_conversations([Turns(key="c", scored=(turn,))]).units
    assert (whole.d, whole.times_ms) == (-0.5, early.times_ms)
    assert whole.metrics.keys() == {"severe", "floor", "error"}


def test_directions_of_one_conversation_are_never_averaged():
    cut = of_conversations([
        Turns(key="c", scored=(scored(1, 1.0), scored(2, -1.0, direction=Direction.REVERSE)))
    ])  # fmt: skip
    assert {(unit.direction, unit.d) for unit in cut.units} == {(Direction.FORWARD, 1.0), (Direction.REVERSE, -1.0)}


def test_a_unit_counts_from_the_earliest_revision_that_it_saw():
    cut = of_conversations([Turns(key="c", scored=(scored(1, revision=7), scored(2, revision=3)))])
    assert [unit.revision for unit in cut.units] == [3]
