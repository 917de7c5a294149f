"""How a judge's reply is read: strictly, or not at all. Pure.

A reply is one JSON object of exactly the names asked for. NaN, a missing or an extra name, a name twice, text around the
object, a refusal, a reply that was cut off: all of them are unscorable, none is guessed at.
"""

import json
from typing import Any

from scoring.judges.base import Unscorable

MAX_REPLY_CHARACTERS = 100_000


def reply_object(text: str | None, names: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """The object of a rationale and `names`, and the rationale, as text that a record can hold. Raises Unscorable."""
    reply = _object(text)
    named(reply, ("rationale", *names), "the reply")
    if not isinstance(reply["rationale"], str):
        raise Unscorable("the rationale is no text")
    return reply, reply["rationale"].encode("utf-8", "replace").decode()


def named(value: Any, names: tuple[str, ...], what: str) -> None:
    """Raises Unscorable where `value` is not an object of exactly `names`."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise Unscorable(f"{what} must be an object of exactly {', '.join(names)}")


def _object(text: str | None) -> Any:
    if not text or len(text) > MAX_REPLY_CHARACTERS:
        raise Unscorable("the reply is empty" if not text else "the reply is too long")
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unscorable("the reply is not one JSON object") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unscorable("the reply says something twice")
    return found


def _no_constant(name: str) -> Any:
    raise Unscorable(f"{name} is no score")
