"""When two answers are the same: equal canonical bytes. Such a pair is a tie, and no judge is paid to say so."""

import unicodedata
from typing import Any

import msgspec

from tutelage.contracts.records import Answer


def same_answer(left: Answer, right: Answer) -> bool:
    """Whether both say the same: text, refusal and tool calls, whatever the ids, token counts and spellings of JSON."""
    return canonical_bytes(left) == canonical_bytes(right)


def canonical_bytes(answer: Answer) -> bytes:
    """What an answer says, spelled one way."""
    said = [_plain(answer.text), _plain(answer.refusal), [_call(call) for call in answer.tool_calls]]
    return msgspec.json.encode(said, order="sorted")


def _plain(text: str | None) -> str:
    return unicodedata.normalize("NFC", text or "").strip().encode("utf-8", "replace").decode()


def _call(call: Any) -> Any:
    """A tool call without the id that each upstream makes up, its arguments as a value."""
    if not isinstance(call, dict):
        return call
    function = call.get("function")
    if not isinstance(function, dict):
        return {name: value for name, value in call.items() if name not in ("id", "index")}
    return [function.get("name"), _value(function.get("arguments"))]


def _value(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments.encode("utf-8", "replace").decode()
