"""What each check calls good."""

from typing import Any

import pytest

from scoring.checks import CHECKS
from tutelage.contracts.records import Answer

CALL = ({"function": {"name": "f"}},)


@pytest.mark.parametrize(
    ("kind", "options", "answer", "score"),
    [
        ("label", {}, "net", 1),
        ("label", {}, "  Net.\n", 1),
        ("label", {}, "**net**", 1),
        ("label", {}, "ｎｅｔ", 1),
        ("label", {}, "net, I think", 0),
        ("label", {}, "internet", 0),
        ("label", {}, ":", 0),
        ("label", {}, "Thought process:", 0),
        ("label", {}, "", 0),
        ("label", {}, "net" + " " * 1_000_000, 0),
        ("label", {"case_sensitive": True}, "Net", 0),
        ("label", {"strip": ""}, "net.", 0),
        ("exact", {}, "net\n", 1),
        ("exact", {}, "Net", 0),
        ("exact", {"strip": False}, "net\n", 0),
        ("exact", {"value": "yes"}, "yes", 1),
        ("exact", {"value": "yes"}, "net", 0),
        ("contains", {"required": ["Refund", "five  days"]}, "A REFUND takes five\ndays.", 1),
        ("contains", {"required": ["refund", "week"]}, "a refund", 0),
        ("contains", {"required": ["refund"], "case_sensitive": True}, "Refund", 0),
        ("contains", {"forbidden": ["password"]}, "Tell me your Password", 0),
        ("contains", {"forbidden": ["password"]}, "", 1),
        ("regex", {"pattern": r"\bA-\d{4}\b"}, "see A-1234.", 1),
        ("regex", {"pattern": r"A-\d{4}", "where": "whole"}, "see A-1234.", 0),
        ("regex", {"pattern": "(?i)sorry", "expect": "no_match"}, "Sorry!", 0),
        ("regex", {"pattern": "é+"}, "éé", 1),
        ("length", {"maximum": 3}, "four", 0),
        ("length", {"maximum": 4}, "four", 1),
        ("length", {"unit": "words", "minimum": 2}, "one", 0),
        ("length", {"unit": "words", "minimum": 2, "maximum": 2}, "one  two", 1),
        ("json_schema", {"schema": {"required": ["a"]}}, '{"a": 1}', 1),
        ("json_schema", {"schema": {"required": ["a"]}}, "{}", 0),
        ("json_schema", {"schema": {}}, "```json\n{}\n```", 0),
        ("json_schema", {"schema": {}}, '{} {"a": 1}', 0),
        ("json_schema", {"schema": {}}, "NaN", 0),
        ("json_schema", {"schema": {}, "max_characters": 4}, "[1, 2]", 0),
        ("json_schema", {"schema": {"uniqueItems": True}}, "[1, 1.0]", 0),
        ("json_schema", {"schema": {"uniqueItems": True}}, "[1, true, [1], {}]", 1),
        ("json_schema", {"schema": {"properties": {"a": {"pattern": "^x"}}}}, '{"a": "yx"}', 0),
        ("json_schema", {"schema": {"patternProperties": {"^x": {"type": "null"}}}}, '{"xa": 1}', 0),
        ("json_schema", {"schema": {"patternProperties": {"^x": {}}, "additionalProperties": False}}, '{"xa": 1}', 1),
        ("json_schema", {"schema": {"properties": {"a": {}}, "additionalProperties": False}}, '{"b": 1}', 0),
        ("json_schema", {"schema": {"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}}, "null", 1),
        ("json_schema", {"schema": {"$ref": "#"}}, "1", 0),
        ("refusal", {}, "I’m sorry, but I can’t help with that.", 0),
        ("refusal", {}, "Sure: I can help.", 1),
        ("refusal", {"opening": 10}, "Of course. " * 3 + "I can't help", 1),
        ("refusal", {"phrases": ["no way"]}, "No  way!", 0),
        ("refusal", {}, "", 0),
        ("refusal", {}, Answer(text=None, tool_calls=CALL), 1),
        ("refusal", {}, Answer(text="ok", refusal="no"), 0),
        ("refusal", {}, Answer(text="ok", finish_reason="content_filter"), 0),
    ],
)
def test_score(kind: str, options: dict[str, Any], answer: str | Answer, score: float):
    given = Answer(text=answer) if isinstance(answer, str) else answer
    assert CHECKS[kind].build(options).score(given, "net") == score


@pytest.mark.parametrize("kind", ["label", "exact"])
def test_without_a_reference_there_is_no_score(kind: str):
    assert CHECKS[kind].build({}).score(Answer(text="net"), None) is None


def test_a_reference_of_nothing_but_punctuation_matches_no_empty_answer():
    assert CHECKS["label"].build({}).score(Answer(text=""), "...") == 0
