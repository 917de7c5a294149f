"""What an attempt gave: whether it failed, which answer may be scored, whether both arms said the same. Pure."""

import unicodedata
from typing import Any

import msgspec

from tutelage.contracts.records import Answer, Attempt


def failed(attempt: Attempt | None) -> bool:
    """The upstream gave no whole answer. An attempt that is not there was lost by us, and has not failed."""
    if attempt is None:
        return False
    return attempt.error is not None or attempt.broke or attempt.status is None or attempt.status >= 400


def answer_of(attempt: Attempt | None) -> Answer | None:
    """The answer that may be scored; None where the arm failed or its answer was lost."""
    return None if attempt is None or failed(attempt) else attempt.answer


def refused(answer: Answer | None) -> bool:
    """Whether the API itself says that the model, or a filter before it, would not answer."""
    return answer is not None and (bool(answer.refusal) or answer.finish_reason == "content_filter")


def same_answer(left: Answer | None, right: Answer | None) -> bool:
    """Whether both say the same: text, refusal and tool calls, whatever the ids, token counts and spellings of JSON.

    Such a pair is a tie, and no judge is paid to say so.
    """
    return left is not None and right is not None and canonical_bytes(left) == canonical_bytes(right)


def canonical_bytes(answer: Answer) -> bytes:
    """What an answer says, spelled one way."""
    said = [_plain(answer.text), _plain(answer.refusal), [call_of(call) for call in answer.tool_calls]]
    return msgspec.json.encode(said, order="sorted")


def call_of(call: Any) -> Any:
    """A tool call as [name, arguments], without the id that each upstream makes up, its arguments as a value."""
    if not isinstance(call, dict):
        return call
    function = call.get("function")
    if not isinstance(function, dict):
        return {name: value for name, value in call.items() if name not in ("id", "index")}
    return [function.get("name"), _value(function.get("arguments"))]


def _plain(text: str | None) -> str:
    return unicodedata.normalize("NFC", text or "").strip().encode("utf-8", "replace").decode()


def _value(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments.encode("utf-8", "replace").decode()
