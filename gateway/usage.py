"""The tokens that an answer cost, read from its bytes without reading the answer. Pure.

For limits, which are settled while the event loop waits; answers are read whole later (`tutelage.capture`). What
counts is the last `"usage"` with an object behind it; inside a string its quotes would be escaped.
"""

import re
from collections.abc import Sequence

import msgspec

from tutelage.contracts.records import Usage

TAIL_BYTES = 16 * 1024
"""Of an answer's end. Behind its usage a response repeats its metadata, which may be 16 texts of 512 characters."""
_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')


class _Cached(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class _Counts(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    input_tokens_details: _Cached | None = None


_counts: msgspec.json.Decoder[_Counts] = msgspec.json.Decoder(_Counts)


def usage_in(chunks: Sequence[bytes]) -> Usage | None:
    """What the upstream counted, or None where it did not say."""
    tail: list[bytes] = []
    size = 0
    for chunk in reversed(chunks):
        tail.append(chunk)
        size += len(chunk)
        if size >= TAIL_BYTES:
            break
    body = b"".join(reversed(tail))
    found = None
    for match in _USAGE.finditer(body, max(0, len(body) - TAIL_BYTES)):
        found = match[1]
    if found is None:
        return None
    try:
        counts = _counts.decode(found)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    details = counts.prompt_tokens_details or counts.input_tokens_details
    prompt = counts.prompt_tokens if counts.prompt_tokens is not None else counts.input_tokens
    completion = counts.completion_tokens if counts.completion_tokens is not None else counts.output_tokens
    if prompt is None and completion is None:
        return None
    return Usage(prompt=prompt, completion=completion, cached=None if details is None else details.cached_tokens)
