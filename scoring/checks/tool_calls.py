"""`tool_calls`: the answer calls the tools of a reference, with its arguments.

A reference is a JSON list of calls, `{"name": …, "arguments": {…}}` or as the API writes them; empty where nothing must be
called. Arguments are compared as values: whatever the order of their names and the spelling of their JSON.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from pydantic import field_validator

from scoring.checks.base import CheckOptions, passed
from tutelage.contracts.records import Answer

MAX_CALLS = 256
"""An answer with more calls is wrong without being read."""
_Call = tuple[str, Any]


class ToolCallsOptions(CheckOptions):
    """`expected`: the calls, without it the input's reference. `order`: whether it counts. `ignore`: argument names that do
    not count. `arguments`: all of them, at least those of the reference, or none but the tools' names."""

    expected: tuple[dict[str, Any], ...] | None = None
    order: Literal["any", "same"] = "any"
    arguments: Literal["exact", "subset", "names"] = "exact"
    ignore: tuple[str, ...] = ()

    @field_validator("expected")
    @classmethod
    def _calls(cls, expected: tuple[dict[str, Any], ...] | None) -> tuple[dict[str, Any], ...] | None:
        if expected is not None and _read(expected) is None:
            raise ValueError('each call is {"name": …, "arguments": {…}}')
        return expected


class ToolCallsCheck:
    """1 where the answer makes these calls and no other."""

    def __init__(self, options: ToolCallsOptions) -> None:
        self._options = options
        self._expected = None if options.expected is None else _read(options.expected)

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        if self._expected is None and reference is None:
            return None
        wanted = self._expected if self._expected is not None else _decoded(reference or "")
        if answer is None or wanted is None or len(answer.tool_calls) != len(wanted):
            return 0.0
        made = _read(answer.tool_calls)
        if made is None:
            return 0.0
        try:
            return passed(self._same(made, wanted))
        except (RecursionError, UnicodeEncodeError, msgspec.MsgspecError):
            return 0.0

    def _same(self, made: Sequence[_Call], wanted: Sequence[_Call]) -> bool:
        if self._options.order == "same":
            return all(self._fits(one, other) for one, other in zip(made, wanted, strict=True))
        if self._options.arguments != "subset":
            return Counter(map(self._key, made)) == Counter(map(self._key, wanted))
        return _matched([[self._fits(one, other) for other in wanted] for one in made])

    def _fits(self, made: _Call, wanted: _Call) -> bool:
        if self._options.arguments != "subset":
            return self._key(made) == self._key(wanted)
        given, needed = self._counted(made), self._counted(wanted)
        if made[0] != wanted[0] or not isinstance(given, dict) or not isinstance(needed, dict):
            return made[0] == wanted[0] and _spelled(given) == _spelled(needed)
        return all(name in given and _spelled(given[name]) == _spelled(value) for name, value in needed.items())

    def _key(self, call: _Call) -> tuple[str, bytes]:
        return call[0], b"" if self._options.arguments == "names" else _spelled(self._counted(call))

    def _counted(self, call: _Call) -> Any:
        arguments = call[1]
        if not isinstance(arguments, dict):
            return arguments
        return {name: value for name, value in arguments.items() if name not in self._options.ignore}


def calls_of(answer: Answer | None) -> str:
    """An answer's calls as a reference; the empty text where they cannot be read."""
    made = _read(answer.tool_calls if answer is not None else ())
    try:
        return "" if made is None else msgspec.json.encode([{"name": n, "arguments": a} for n, a in made]).decode()
    except (RecursionError, UnicodeEncodeError, msgspec.MsgspecError):
        return ""


def no_calls(reference: str) -> str | None:
    """Why a text is no list of calls."""
    return None if _decoded(reference) is not None else 'it is no JSON list of {"name": …, "arguments": {…}}'


def _decoded(reference: str) -> list[_Call] | None:
    try:
        calls = msgspec.json.decode(reference)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return _read(calls) if isinstance(calls, list) else None


def _read(calls: Sequence[Any]) -> list[_Call] | None:
    """(name, arguments as a value) of each call; None where one of them is none."""
    if len(calls) > MAX_CALLS:
        return None
    read: list[_Call] = []
    for call in calls:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(name := function.get("name"), str):
            return None
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = msgspec.json.decode(arguments or "{}")
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
                return None
        read.append((name, arguments))
    return read


def _spelled(value: Any) -> bytes:
    """One spelling of a value: names sorted, 1.0 as 1."""
    return msgspec.json.encode(_plain(value), order="sorted")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _matched(fits: Sequence[Sequence[bool]]) -> bool:
    """Whether each call made can have a call wanted of its own: augmenting paths, at most `MAX_CALLS`³ steps."""
    taken: dict[int, int] = {}

    def place(made: int, seen: set[int]) -> bool:
        for wanted, fit in enumerate(fits[made]):
            if fit and wanted not in seen:
                seen.add(wanted)
                if wanted not in taken or place(taken[wanted], seen):
                    taken[wanted] = made
                    return True
        return False

    return all(place(made, set()) for made in range(len(fits)))
