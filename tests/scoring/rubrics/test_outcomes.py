"""Outcomes: known where an arm answered, harm is 1, and the documented table is the code's."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.types import Arm
from scoring.checks import CHECKS
from scoring.rubrics.outcomes import outcomes
from tests.scoring.pairs import attempt, failed, pair
from tutelage.contracts.pairs import Outcome
from tutelage.contracts.records import Answer, Usage

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "RECORDS.md"
PERSON = {"type": "object", "required": ["name"]}


def asking(**given: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "who?"}], "response_format": given}


def test_what_both_arms_did_is_measured():
    teacher = attempt(Arm.TEACHER, "net", first_token_ms=3.0, cost_nusd=900, usage=Usage(completion=2))
    found = outcomes(pair(0, teacher=teacher, student="network"), ())
    assert found == {
        "error": Outcome(teacher=0.0, student=0.0),
        "first_token_ms": Outcome(teacher=3.0, student=None),
        "total_ms": Outcome(teacher=5.0, student=5.0),
        "cost_nusd": Outcome(teacher=900.0, student=None),
        "completion_tokens": Outcome(teacher=2.0, student=None),
        "characters": Outcome(teacher=3.0, student=7.0),
        "refusal": Outcome(teacher=0.0, student=0.0),
    }


def test_a_failed_arm_has_an_error_and_no_answer_to_measure():
    found = outcomes(pair(0, student=failed(Arm.STUDENT)), ())
    assert found["error"] == Outcome(teacher=0.0, student=1.0)
    assert {both.student for name, both in found.items() if name != "error"} == {None}


def test_what_was_lost_by_us_is_no_error():
    assert outcomes(pair(0, student=None), ())["error"].student is None


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [(Answer(text="I’m sorry, but I can’t."), 1.0), (Answer(text="net", refusal="no"), 1.0), (Answer(text="net"), 0.0)],
)
def test_a_refusal_is_found_by_field_and_by_phrase(answer: Answer, refusal: float):
    assert outcomes(pair(0, student=attempt(Arm.STUDENT, answer=answer)), ())["refusal"].student == refusal


@pytest.mark.parametrize(
    ("request_", "said", "invalid"),
    [
        (asking(type="json_object"), "net", 1.0),
        (asking(type="json_object"), "{}", 0.0),
        (asking(type="json_schema", json_schema={"schema": PERSON}), '{"name": 1}', 0.0),
        (asking(type="json_schema", json_schema={"schema": PERSON}), "{}", 1.0),
        (asking(type="json_schema", json_schema={"schema": {"$ref": "http://127.0.0.1/"}}), "{}", 0.0),
        (asking(type="json_schema", json_schema={"schema": {"pattern": r"(a)\1"}}), "no", 1.0),
        (asking(type="json_schema", json_schema={"schema": PERSON | {"title": "t" * 65_536}}), "{}", 0.0),
        (asking(type="json_schema", json_schema=3), "{}", 0.0),
    ],
    ids=[
        "no JSON",
        "JSON",
        "fits",
        "does not fit",
        "a schema that would fetch",
        "one that RE2 refuses",
        "a long one",
        "none",
    ],
)
def test_an_answer_keeps_the_form_that_was_asked_for(request_: Any, said: str, invalid: float):
    assert outcomes(pair(0, student=said, request=request_), ())["invalid"].student == invalid


def test_the_rubrics_own_schema_counts_and_a_tool_call_has_no_form():
    schema = CHECKS["json_schema"].build({"schema": PERSON})
    called = attempt(Arm.TEACHER, answer=Answer(text=None, tool_calls=({"function": {"name": "f"}},)))
    assert outcomes(pair(0, teacher=called, student="{}"), [schema])["invalid"] == Outcome(teacher=0.0, student=1.0)


def test_without_a_form_nothing_is_invalid():
    assert "invalid" not in outcomes(pair(0, request=None), ())
    assert "invalid" not in outcomes(pair(0, request=asking(type="text")), ())


def test_a_request_that_no_encoder_takes_costs_no_pair():
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert "invalid" not in outcomes(pair(0, request=asking(type="json_schema", json_schema={"schema": deep})), ())


def test_the_document_names_the_outcomes():
    section = DOCUMENT.read_text().split("## Outcomes of a judgement\n")[1].split("\n## ")[0]
    full = msgspec.structs.replace(
        pair(0).teacher or failed(Arm.TEACHER), first_token_ms=1.0, cost_nusd=1, usage=Usage(completion=1)
    )
    known = outcomes(pair(0, teacher=full, request=asking(type="json_object")), ())
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(known)
