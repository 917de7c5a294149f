"""What each check calls good."""

import time
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
        ("json_schema", {"schema": {"uniqueItems": True}}, "[1e30, 2]", 1),
        ("json_schema", {"schema": {"properties": {"$id": {}, "unevaluated": {}}}}, "1", 1),
        ("regex", {"pattern": "b", "expect": "no_match"}, "a" * 100_001, 0),
        ("refusal", {}, "I’m sorry, but I can’t help with that.", 0),
        ("refusal", {}, "Sure: I can help.", 1),
        ("refusal", {"opening": 10}, "Of course. " * 3 + "I can't help", 1),
        ("refusal", {"phrases": ["no way"]}, "No  way!", 0),
        ("refusal", {}, "", 0),
        ("refusal", {}, Answer(text=None, tool_calls=CALL), 1),
        ("refusal", {}, Answer(text="ok", refusal="no"), 0),
        ("refusal", {}, Answer(text="ok", finish_reason="content_filter"), 0),
        ("numeric", {"value": 1234.5}, "1,234.5", 1),
        ("numeric", {"value": 1234.5}, "**$1,234.50**.", 1),
        ("numeric", {"value": -0.5}, "−.5", 1),
        ("numeric", {"value": 1e3}, "1e3", 1),
        ("numeric", {"value": 12}, "12 %", 1),
        ("numeric", {"value": 12}, "It is 12.", 0),
        ("numeric", {"value": 12, "where": "last"}, "7 + 5 = 12.", 1),
        ("numeric", {"value": 12, "where": "first"}, "7 + 5 = 12.", 0),
        ("numeric", {"value": 100, "absolute": 1}, "101", 1),
        ("numeric", {"value": 100, "relative": 0.01}, "101.5", 0),
        ("numeric", {"value": 1.0, "absolute": 0.1}, "1.1", 1),
        ("numeric", {"value": 1.0, "absolute": 0.1}, "1.1000000000000000001", 0),
        ("numeric", {"value": 0.1, "relative": 1e300}, "1e400", 0),
        ("numeric", {"value": 0, "relative": 0.5}, "0.1", 0),
        ("numeric", {"value": 1}, "NaN", 0),
        ("numeric", {"value": 1}, "1e400", 0),
        ("numeric", {"value": 1}, "1" * 5_000, 0),
        ("numeric", {"value": 1}, "", 0),
        ("language", {"languages": ["en"]}, "The customer wants his money back for the kettle.", 1),
        ("language", {"languages": ["en"]}, "Der Kunde möchte sein Geld für den Kessel zurück.", 0),
        ("language", {"languages": ["de", "fr"]}, "Le client veut être remboursé pour la bouilloire.", 1),
        ("language", {"languages": ["ja"]}, "お客様はやかんの返金を希望しています。どうしますか。", 1),
        ("language", {"languages": ["en"]}, "net", 1),
        ("language", {"languages": ["en"], "minimum": 0}, "", 0),
        ("similarity", {}, "net", 1),
        ("similarity", {"minimum": 0.99}, "network", 0),
        ("similarity", {"minimum": 0.2}, "the internet and networks", 1),
        ("similarity", {}, "", 0),
    ],
)
def test_score(kind: str, options: dict[str, Any], answer: str | Answer, score: float):
    given = Answer(text=answer) if isinstance(answer, str) else answer
    assert CHECKS[kind].build(options).score(given, "net") == pytest.approx(score, abs=1e-6)


def branching(levels: int) -> dict[str, Any]:
    """A schema of `levels` definitions that asks for 2^levels looks at one value."""
    parts: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": parts | {f"d{levels}": {}}}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        (branching(60), "1"),
        ({"items": {"enum": [str(n) for n in range(4_000)]}}, '["3999"' + ',"3999"' * 12_000 + "]"),
        ({"items": {"properties": {str(n): {} for n in range(4_000)}}}, "[{}" + ",{}" * 30_000 + "]"),
        ({"allOf": [{"pattern": f"(?:a?){{1000}}{end}"} for end in "bcdefghij"]}, '"' + "a" * 90_000 + '"'),
    ],
    ids=["branching", "enum", "properties", "patterns"],
)
def test_a_schema_that_asks_for_too_many_steps_fails_its_answer_soon(schema: dict[str, Any], answer: str):
    check = CHECKS["json_schema"].build({"schema": schema})
    began = time.process_time()
    assert check.score(Answer(text=answer), None) == 0
    assert time.process_time() - began < 10


def test_a_schema_is_read_in_bounded_time():
    mixed: list[Any] = [part for n in range(8_000) for part in (n, str(n))]
    began = time.process_time()
    with pytest.raises(ValueError, match="not a JSON schema"):
        CHECKS["json_schema"].build({"schema": {"type": mixed}})
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "draft", ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"]
)
def test_a_part_that_names_a_draft_is_read_as_the_rest_is(draft: str):
    """With RE2, which alone knows `\\pL`."""
    schema = {"$schema": draft, "properties": {"a": {"$ref": "#"}, "b": {"$schema": draft, "pattern": r"^\pL+$"}}}
    check = CHECKS["json_schema"].build({"schema": schema})
    assert check.score(Answer(text='{"a": {"b": "\u00e9"}}'), None) == 1
    assert check.score(Answer(text='{"a": {"b": "1"}}'), None) == 0


@pytest.mark.parametrize("kind", ["label", "exact", "tool_calls", "numeric", "similarity"])
def test_without_a_reference_there_is_no_score(kind: str):
    assert CHECKS[kind].build({}).score(Answer(text="net"), None) is None


def test_a_reference_of_nothing_but_punctuation_matches_no_empty_answer():
    assert CHECKS["label"].build({}).score(Answer(text=""), "...") == 0


def call(name: str, arguments: Any) -> dict[str, Any]:
    """As the API writes a call."""
    return {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}


LOOKUP, PAY = call("lookup", '{"id": 7, "deep": {"b": [1.0], "a": 2}}'), call("pay", '{"usd": 5}')
WANTED = (
    '[{"name": "lookup", "arguments": {"deep": {"a": 2, "b": [1]}, "id": 7}}, {"name": "pay", "arguments": {"usd": 5}}]'
)


@pytest.mark.parametrize(
    ("options", "calls", "score"),
    [
        ({}, [LOOKUP, PAY], 1),
        ({}, [PAY, LOOKUP], 1),
        ({"order": "same"}, [LOOKUP, PAY], 1),
        ({"order": "same"}, [PAY, LOOKUP], 0),
        ({}, [LOOKUP], 0),
        ({"order": "same"}, [LOOKUP], 0),
        ({"arguments": "subset"}, [LOOKUP], 0),
        ({"arguments": "names"}, [LOOKUP], 0),
        ({}, [LOOKUP, LOOKUP], 0),
        ({}, [LOOKUP, PAY, PAY], 0),
        ({}, [LOOKUP, call("pay", '{"usd": "5"}')], 0),
        ({}, [LOOKUP, call("pay", '{"usd": 5, "note": ""}')], 0),
        ({"ignore": ["note"]}, [LOOKUP, call("pay", '{"usd": 5, "note": ""}')], 1),
        ({"arguments": "subset"}, [call("pay", '{"usd": 5, "note": ""}'), LOOKUP], 1),
        ({"arguments": "subset"}, [LOOKUP, call("pay", '{"note": ""}')], 0),
        ({"arguments": "subset"}, [PAY, PAY], 0),
        ({"arguments": "names"}, [call("pay", "{}"), call("lookup", "{}")], 1),
        ({"arguments": "names"}, [call("pay", "not JSON"), LOOKUP], 0),
        ({"expected": []}, [], 1),
        ({"expected": []}, [PAY], 0),
        ({"expected": [{"name": "pay", "arguments": {"usd": 5}}]}, [PAY], 1),
        ({}, [{"function": "pay"}, LOOKUP], 0),
        ({}, ["pay", 3], 0),
    ],
)
def test_tool_calls(options: dict[str, Any], calls: list[Any], score: float):
    assert CHECKS["tool_calls"].build(options).score(Answer(tool_calls=tuple(calls)), WANTED) == score


def test_two_calls_of_which_one_fits_both_are_matched_one_to_one():
    """The greedy choice would give the general call the special one's place."""
    wanted = '[{"name": "pay"}, {"name": "pay", "arguments": {"usd": 5}}]'
    made = (call("pay", '{"usd": 5}'), call("pay", '{"usd": 6}'))
    assert CHECKS["tool_calls"].build({"arguments": "subset"}).score(Answer(tool_calls=made), wanted) == 1


def test_the_teachers_calls_are_a_reference():
    kind = CHECKS["tool_calls"]
    reference = kind.of_teacher(Answer(tool_calls=(PAY,)))
    assert kind.build({}).score(Answer(tool_calls=(call("pay", '{"usd":5.0}'),)), reference) == 1
    assert kind.build({}).score(Answer(), reference) == 0
    assert kind.build({}).score(Answer(), kind.of_teacher(Answer(text="net"))) == 1


def test_word_vectors_that_are_not_installed_are_named_when_the_rubric_is_read(monkeypatch: pytest.MonkeyPatch):
    def absent() -> Any:
        raise ImportError

    monkeypatch.setattr("scoring.checks.similarity._vectors", absent)
    with pytest.raises(ValueError, match=r"pip install 'tutelage\[embeddings\]'"):
        CHECKS["similarity"].build({})
