"""Loose JSON: values that others wrote, read without trusting them. Pure; what does not fit is `Malformed` or None.

Must not know what the values mean.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec

from tutelage.contracts.records import Json

decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
"""Any JSON. Raises msgspec.DecodeError, UnicodeDecodeError and RecursionError: `read_json` is for what others sent."""
_INT_LIMITS = (-(2**63), 2**64 - 1)
_MAX_DEPTH = 200
"""Of values that stand one in the other: who reads a record later, from however deep a call, must be able to."""


class Malformed(ValueError):
    """These bytes, or this value, are not what should stand there."""


def read_json(body: bytes) -> Json:
    """The value behind JSON bytes, such that a record can hold it: lone surrogates become U+FFFD, numbers beyond 64 bits floats.

    Raises Malformed, for more than _MAX_DEPTH values one in the other too.
    """
    try:
        value = decode(body)
        if body.count(b"[") + body.count(b"{") > _MAX_DEPTH and _depth(value) > _MAX_DEPTH:
            raise Malformed("nested too deeply")
        return value
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return _storable(json.loads(body.decode("utf-8"), parse_constant=lambda _: None), _MAX_DEPTH)
    except (ValueError, RecursionError) as fault:
        raise Malformed(type(fault).__name__) from None


def _depth(value: Json) -> int:
    """How many lists and objects stand one in the other."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, list | dict)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _storable(value: Json, depth: int) -> Json:
    if depth == 0:
        raise Malformed("nested too deeply")
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_storable(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_storable(key, 1): _storable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, int) and not _INT_LIMITS[0] <= value <= _INT_LIMITS[1]:
        return float(value) if abs(value) < 1e300 else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def as_object(value: Json) -> dict[str, Any]:
    """Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed("not an object")
    return value


def as_optional(value: Json) -> dict[str, Any]:
    """None is an object without fields. Raises Malformed."""
    return {} if value is None else as_object(value)


def as_objects(value: Json) -> list[dict[str, Any]]:
    """None is an empty list. Raises Malformed."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed("not a list")
    for item in value:
        if not isinstance(item, dict):
            raise Malformed("not an object")
    return value


def as_text(value: Json) -> str | None:
    """A string, else None."""
    return value if isinstance(value, str) else None


def as_count(value: Json) -> int | None:
    """A whole number from 0 on that every reader holds exactly, else None; a bool is no count."""
    return value if type(value) is int and 0 <= value < 2**53 else None


def as_index(value: Json) -> int:
    """A count, else 0."""
    return as_count(value) or 0
