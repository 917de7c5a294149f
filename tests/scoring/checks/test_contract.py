"""One suite for every check: total, deterministic, bounded, whatever a model wrote."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.checks import CHECKS
from tutelage.contracts.records import Answer

OPTIONS: dict[str, dict[str, Any]] = {
    "label": {},
    "exact": {},
    "contains": {"required": ["yes"], "forbidden": ["no"]},
    "regex": {"pattern": r"^\s*(a+)+$"},
    "length": {"unit": "words", "minimum": 1, "maximum": 50},
    "json_schema": {
        "schema": {
            "type": ["object", "array", "number", "string"],
            "properties": {"a": {"multipleOf": 0.01}, "b": {"$ref": "#"}},
            "patternProperties": {"^(x+)+$": {"type": "string", "pattern": "^(a|a)*$"}},
            "additionalProperties": {"uniqueItems": True},
            "uniqueItems": True,
            "multipleOf": 0.01,
        }
    },
    "tool_calls": {"arguments": "subset"},
    "numeric": {"where": "last", "relative": 0.1},
    "language": {"languages": ["en"]},
    "similarity": {},
    "refusal": {},
}
ODD_TEXT = st.one_of(
    st.none(),
    st.text(st.characters(categories=None, codec=None), max_size=200),
    st.sampled_from(
        ["", ":", "Thought process:", "\x00", "\ud800", "\u202egnp", "e\u0301", "\u2028", "[" * 100_000, "NaN"]
    ),
    st.sampled_from(
        [
            "1" * 5000,
            '{"a": 1e400}',
            "1e308",
            '{"b":' * 900 + "1" + "}" * 900,
            "[[1], [1.0], {}]",
            '"\\ud800"',
            "İ" * 999,
        ]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4)
)
ANSWERS = st.none() | st.builds(
    Answer,
    text=ODD_TEXT,
    finish_reason=st.sampled_from([None, "stop", "length", "content_filter", "???"]),
    refusal=st.none() | st.text(max_size=20),
    tool_calls=st.lists(
        JSON | st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": ODD_TEXT, "arguments": ODD_TEXT})}),
        max_size=2,
    ).map(tuple),
)


def test_every_check_is_under_contract():
    assert set(OPTIONS) == set(CHECKS)


@pytest.mark.parametrize("kind", sorted(CHECKS))
@given(answer=ANSWERS, reference=ODD_TEXT)
@settings(max_examples=120, deadline=None)
def test_any_answer_has_a_score_between_0_and_1_or_none_and_always_the_same(
    kind: str, answer: Answer | None, reference: str | None
):
    check, again = CHECKS[kind].build(OPTIONS[kind]), CHECKS[kind].build(OPTIONS[kind])
    score = check.score(answer, reference)
    assert score is None or 0.0 <= score <= 1.0
    assert score == check.score(answer, reference) == again.score(answer, reference)
    assert score is not None or reference is None


@pytest.mark.parametrize("kind", sorted(CHECKS))
@given(answer=ANSWERS, teacher=ANSWERS)
@settings(max_examples=60, deadline=None)
def test_any_answer_of_the_teacher_is_a_reference(kind: str, answer: Answer | None, teacher: Answer | None):
    score = CHECKS[kind].build(OPTIONS[kind]).score(answer, CHECKS[kind].of_teacher(teacher))
    assert score is not None
    assert 0.0 <= score <= 1.0


@pytest.mark.parametrize("kind", sorted(CHECKS))
@given(reference=ODD_TEXT.filter(bool))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_reference_or_has_a_fault(kind: str, reference: str):
    fault = CHECKS[kind].fault(reference)
    assert fault is None or fault


@pytest.mark.parametrize("kind", sorted(CHECKS))
@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000 + "!", "{" * 1_000_000, " " * 1_000_000, "\U0001f600" * 250_000, "[" + "[]," * 30_000 + "1]"],
    ids=["letters", "braces", "blanks", "emoji", "lists"],
)
def test_a_megabyte_is_scored_in_bounded_time(kind: str, text: str):
    check = CHECKS[kind].build(OPTIONS[kind])
    began = time.process_time()
    assert check.score(Answer(text=text), "net") is not None
    assert time.process_time() - began < 2.0
