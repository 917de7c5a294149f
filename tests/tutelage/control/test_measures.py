import msgspec
import pytest

from router.types import Direction
from tests.tutelage.control.test_units import scored
from tutelage.contracts.pairs import Outcome
from tutelage.control.analysis import slices_of
from tutelage.control.measures import metrics_of, times_ms_of
from tutelage.control.units import of_conversations, of_requests
from tutelage.store.base import Scored, Turns


def turn(order: int, d: float | None = 0.0, direction: Direction = Direction.FORWARD, **judgement) -> Scored:
    made = scored(order, d, direction=direction)
    return Scored(order=order, pair=made.pair, judgement=msgspec.structs.replace(made.judgement, d=d, **judgement))


def outcome(teacher: float | None, student: float | None) -> Outcome:
    return Outcome(teacher=teacher, student=student)


def test_faults_are_the_teacher_s_less_the_student_s():
    made = metrics_of(
        [turn(1, outcomes={"error": outcome(0, 1), "refusal": outcome(1, 0), "invalid": outcome(None, 1)})]
    )
    assert (made["error"], made["refusal"]) == (-1.0, 1.0)
    assert "invalid" not in made


@pytest.mark.parametrize(("student", "expected"), [(99, 0.0), (201, -1.0), (49, -1.0), (200, 0.0)])
def test_a_length_is_read_from_tokens_where_both_arms_have_them(student: float, expected: float):
    both = {"completion_tokens": outcome(100, student), "characters": outcome(1, 1_000)}
    assert metrics_of([turn(1, outcomes=both)])["length"] == expected


def test_dearer_is_harm_and_an_unknown_price_is_not_zero():
    assert metrics_of([turn(1, outcomes={"cost_nusd": outcome(5, 6)})])["cost"] == -1.0
    assert metrics_of([turn(1, outcomes={"cost_nusd": outcome(5, 5)})])["cost"] == 0.0
    assert "cost" not in metrics_of([turn(1, outcomes={"cost_nusd": outcome(None, 6)})])


def test_a_severe_turn_is_not_hidden_by_the_mean_of_its_conversation():
    turns = Turns(key="c", scored=(turn(1, 0.4), turn(2, -0.9), turn(3, 0.4), turn(4, 0.3)))
    (unit,) = of_conversations([turns]).units
    assert unit.d == pytest.approx(0.05)
    assert unit.metrics["severe"] == pytest.approx(-0.25)


def test_a_turn_that_nobody_could_score_is_the_worst_of_what_its_conversation_says():
    metrics = metrics_of([turn(1, student_score=0.8, disagreement=-0.2), turn(2, None)])
    assert metrics["floor"] == pytest.approx(0.4)
    assert metrics["disagreement"] == pytest.approx(-0.6)
    assert metrics["severe"] == pytest.approx(-0.5)


def test_times_are_both_arms_turn_by_turn():
    first = turn(1, outcomes={"total_ms": outcome(100, 50), "first_token_ms": outcome(None, 10)})
    second = turn(2, outcomes={"total_ms": outcome(300, 70)})
    assert times_ms_of([first, second]) == {
        "teacher_total": (100.0, 300.0), "student_total": (50.0, 70.0), "student_first_token": (10.0,),
    }  # fmt: skip


GERMAN = "Wann kommt meine Bestellung an, und was kostet der Versand?"


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, {"length": "short"}),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a " * 250}, {"type": "image_url"}]}]},
         {"length": "medium"}),
        ({"input": GERMAN * 100}, {"length": "long", "language": "de"}),
        ({"messages": [{"role": "system", "content": "You are a helpful assistant, always answer in full sentences."},
                       {"role": "user", "content": GERMAN}]}, {"length": "short", "language": "de"}),
        ({"messages": []}, {}),
        ({"messages": [None, 3, {"content": {"a": 1}}]}, {}),
        (None, {}),
    ],
)  # fmt: skip
def test_length_and_language_of_an_input_are_slices_where_they_are_asked_for(request_body, expected):
    pair = msgspec.structs.replace(scored(1).pair, request=request_body, slices={"slice": "gold"})
    found = slices_of(pair, ("length", "language"))
    assert {name: value for name, value in found.items() if name in expected or name != "language"} == expected | {
        "slice": "gold"
    }
    turn = Scored(order=1, pair=pair, judgement=scored(1).judgement)
    assert of_requests([turn], ("length", "language")).units[0].slices == found
    assert of_requests([turn]).units[0].slices == {"slice": "gold"}
