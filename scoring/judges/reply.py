"""How a judge's reply is read: strictly, or not at all. Pure.

A score is a whole number within its criterion's scale. NaN, 11 of 10, 3.0, true, a missing or an extra name, a name twice,
text around the object, a refusal, a reply that was cut off: all of them are unscorable, none is guessed at.
"""

import json
from collections.abc import Mapping
from typing import Any

from scoring.rubrics.schema import Criterion, Rubric

MAX_REPLY_CHARACTERS = 100_000


class Unscorable(Exception):
    """The judge has seen the answers and given no usable verdict. The message says what was wrong, without content."""


def read_reply(rubric: Rubric, text: str | None) -> tuple[Mapping[str, tuple[float, float]], str]:
    """({criterion: (score of A, score of B)} in [0, 1], rationale). Raises Unscorable."""
    reply = _object(text)
    _named(reply, ("rationale", "a", "b"), "the reply")
    if not isinstance(reply["rationale"], str):
        raise Unscorable("the rationale is no text")
    criteria = [criterion for criterion in rubric.criteria if criterion.judge is not None]
    for answer in ("a", "b"):
        _named(reply[answer], tuple(criterion.name for criterion in criteria), f"answer {answer}")
    scores = {c.name: (_score(c, reply["a"][c.name]), _score(c, reply["b"][c.name])) for c in criteria}
    return scores, reply["rationale"]


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


def _named(value: Any, names: tuple[str, ...], what: str) -> None:
    if not isinstance(value, dict) or set(value) != set(names):
        raise Unscorable(f"{what} must be an object of exactly {', '.join(names)}")


def _score(criterion: Criterion, value: Any) -> float:
    scale = criterion.judge.scale if criterion.judge is not None else 0
    if type(value) is not int or not 0 <= value <= scale:
        raise Unscorable(f"the score of {criterion.name} is not a whole number from 0 to {scale}")
    return value / scale
