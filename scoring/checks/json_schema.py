"""`json_schema`: the answer is JSON that a schema accepts (draft 2020-12).

Bounded on purpose: the answer's size, patterns in RE2, uniqueness in linear time. No reference leaves the schema, so
nothing is fetched.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic import Field, field_validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from scoring.checks.base import CheckOptions, passed, text_of
from scoring.checks.regex import compile_pattern
from tutelage.contracts.records import Answer

_REFERENCES = ("$ref", "$dynamicRef")
_MAX_DEPTH = 64


class JsonSchemaOptions(CheckOptions):
    """`schema`: a JSON schema, references inside it only. `max_characters`: a longer answer fails unread."""

    definition: dict[str, Any] = Field(alias="schema")
    max_characters: int = Field(100_000, ge=1, le=1_000_000)

    @field_validator("definition")
    @classmethod
    def _usable(cls, definition: dict[str, Any]) -> dict[str, Any]:
        try:
            Draft202012Validator.check_schema(definition)
        except (SchemaError, RecursionError) as fault:
            raise ValueError(f"not a JSON schema: {getattr(fault, 'message', 'nested too deep')}") from None
        _look_through(definition, 0)
        return definition


class JsonSchemaCheck:
    """1 where the answer's text is one JSON value that the schema accepts."""

    def __init__(self, options: JsonSchemaOptions) -> None:
        self._max_characters = options.max_characters
        self._validator = _BOUNDED(options.definition, registry=Registry())

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        text = text_of(answer)
        if not text or len(text) > self._max_characters:
            return 0.0
        try:
            return passed(self._validator.is_valid(msgspec.json.decode(text)))
        except (msgspec.DecodeError, RecursionError, ArithmeticError, ValueError, Unresolvable):
            return 0.0


def _look_through(schema: Any, depth: int) -> None:
    """Raises ValueError for what would be fetched, or would match in more than linear time, or never ends."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"schema is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(schema, list):
        for part in schema:
            _look_through(part, depth + 1)
    if not isinstance(schema, dict):
        return
    for name, value in schema.items():
        if name in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
            raise ValueError(f"{name} {value!r} leaves the schema: copy what it names under $defs")
        if name == "unevaluatedProperties":
            raise ValueError("unevaluatedProperties is not supported: write additionalProperties")
        if name == "pattern" and isinstance(value, str):
            compile_pattern(value)
        if name == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                compile_pattern(pattern)
        _look_through(value, depth + 1)


def _pattern(_: Validator, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and compile_pattern(pattern).search(instance) is None:
        yield ValidationError(f"does not match {pattern!r}")


def _pattern_properties(
    validator: Validator, patterns: Mapping[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        compiled = compile_pattern(pattern)
        for name, value in instance.items():
            if compiled.search(name) is not None:
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)  # type: ignore[attr-defined]  # the protocol leaves it out


def _additional_properties(
    validator: Validator, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    compiled = [compile_pattern(pattern) for pattern in schema.get("patternProperties", ())]
    for name, value in instance.items():
        if name in schema.get("properties", ()) or any(pattern.search(name) for pattern in compiled):
            continue
        yield from validator.descend(value, allowed, path=name)  # type: ignore[attr-defined]  # the protocol leaves it out


def _unique_items(_: Validator, wanted: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        seen = {msgspec.json.encode(_as_schema_sees(item), order="sorted") for item in instance}
        if len(seen) < len(instance):
            yield ValidationError("has an item twice")


def _as_schema_sees(value: Any) -> Any:
    """1 and 1.0 are the same number to a schema."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_as_schema_sees(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_schema_sees(item) for name, item in value.items()}
    return value


_BOUNDED: type[Validator] = extend(  # type: ignore[no-untyped-call]  # published without types
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    },
)
