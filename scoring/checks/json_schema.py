"""`json_schema`: the answer is JSON that a schema accepts (draft 2020-12).

Bounded on purpose, since a client's schema is data too: the answer's size, patterns in RE2, uniqueness in linear time, and
the steps that a schema may take, for a short one whose references branch can ask for more of them than there are
nanoseconds in a year. No reference leaves the schema, so nothing is fetched.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic import Field, field_validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from scoring.checks.base import CheckOptions, passed, text_of
from scoring.checks.regex import compile_pattern
from tutelage.contracts.records import Answer

MAX_STEPS = 300_000
"""What an answer may take: keywords applied to its values, each with as many more as it names, about 5 µs each. An answer that
takes more fails."""
MAX_SCHEMA_STEPS = 1_000_000
"""The same for reading the schema itself."""
_PATTERN_WORK_PER_STEP = 2_000
"""RE2 in its slowest mode: instructions times characters."""
_MAX_DEPTH = 64
_UNSUPPORTED = {
    "unevaluatedProperties": "write additionalProperties",
    "unevaluatedItems": "write items",
    "$dynamicRef": "write $ref",
    "$dynamicAnchor": "write $defs",
    "$anchor": "write $defs",
}
"""Each would look through the whole schema once more at every value."""

_left: ContextVar[list[int]] = ContextVar("steps left")


class _Endless(Exception):
    """A schema asks for more steps than it may take."""


class JsonSchemaOptions(CheckOptions):
    """`schema`: a JSON schema, references inside it only. `max_characters`: a longer answer fails unread."""

    definition: dict[str, Any] = Field(alias="schema")
    max_characters: int = Field(100_000, ge=1, le=1_000_000)

    @field_validator("definition")
    @classmethod
    def _usable(cls, definition: dict[str, Any]) -> dict[str, Any]:
        try:
            fault = _first_fault(_META, definition, MAX_SCHEMA_STEPS)
        except RecursionError:
            raise ValueError("not a JSON schema: nested too deep") from None
        except _Endless:
            raise ValueError("not a JSON schema: too large") from None
        if fault is not None:
            raise ValueError(f"not a JSON schema: {fault.message[:200]}")
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
            return passed(_first_fault(self._validator, msgspec.json.decode(text), MAX_STEPS) is None)
        except (msgspec.DecodeError, RecursionError, ArithmeticError, ValueError, Unresolvable, _Endless):
            return 0.0


def _first_fault(validator: Validator, instance: Any, steps: int) -> ValidationError | None:
    """What does not fit first, None where all does. Raises _Endless."""
    token = _left.set([steps])
    try:
        return next(validator.iter_errors(instance), None)
    finally:
        _left.reset(token)


def _spend(steps: int) -> None:
    left = _left.get()
    left[0] -= steps
    if left[0] < 0:
        raise _Endless


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
        if name == "$ref" and isinstance(value, str) and value != "#" and not value.startswith("#/"):
            raise ValueError(
                f"$ref {value!r} leaves the schema: copy what it names under $defs, and write #/$defs/NAME"
            )
        if name == "$id" and isinstance(value, str) and depth > 0:
            raise ValueError("$id inside a schema is not supported: write $defs")
        if name in _UNSUPPORTED:
            raise ValueError(f"{name} is not supported: {_UNSUPPORTED[name]}")
        if name == "pattern" and isinstance(value, str):
            compile_pattern(value)
        if name == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                compile_pattern(pattern)
        _look_through(value, depth + 1)


def _found(pattern: str, text: str) -> bool:
    compiled = compile_pattern(pattern)
    _spend(1 + compiled.programsize * len(text) // _PATTERN_WORK_PER_STEP)
    return compiled.search(text) is not None


def _pattern(_: Validator, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError(f"does not match {pattern!r}")


def _pattern_properties(
    validator: Validator, patterns: Mapping[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if _found(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)  # type: ignore[attr-defined]  # the protocol leaves it out


def _additional_properties(
    validator: Validator, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for name, value in instance.items():
        known = name in schema.get("properties", ())
        if known or any(_found(pattern, name) for pattern in schema.get("patternProperties", ())):
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


_Apply = Callable[[Validator, Any, Any, Any], Iterator[ValidationError] | None]


def _counted(apply: _Apply) -> _Apply:
    def counted(validator: Validator, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _spend(1 + (len(value) if isinstance(value, list | dict) else 0))
        yield from apply(validator, value, instance, schema) or ()

    return counted


_LINEAR: Mapping[str, _Apply] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
_BOUNDED: type[Validator] = extend(  # type: ignore[no-untyped-call]  # published without types
    Draft202012Validator,
    {name: _counted(_LINEAR.get(name, apply)) for name, apply in Draft202012Validator.VALIDATORS.items()},
)


def _evolved(validator: Any, **changes: Any) -> Any:
    """The library would go over to its own, unbounded class at every subschema, or `$ref: "#"`, that says `$schema`."""
    same = {one.alias: getattr(validator, one.name) for one in type(validator).__attrs_attrs__ if one.init}
    return type(validator)(**same | changes)


_BOUNDED.evolve = _evolved  # type: ignore[method-assign, assignment]  # the protocol's method names itself twice
_META = _BOUNDED(Draft202012Validator.META_SCHEMA)
