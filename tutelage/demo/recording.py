"""The recording: what each model answered to every held-out input, with its latency, keyed by a hash of the messages.

A gzipped JSON-lines file, a row an input, beside `provenance.json` which says how it was made. Owns the format. Must not
know who asks or who answered.
"""

import gzip
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tutelage.contracts.errors import ConfigurationError

TEACHER, GOOD, WEAK = "teacher", "good", "weak"
MODELS = (TEACHER, GOOD, WEAK)


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: the body's text exactly as the server sent it, and how long it took in milliseconds."""

    total_ms: float
    body: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One input and all its answers. `messages_sha256` is `key_of` the messages that were sent."""

    messages_sha256: str
    input: str
    answers: dict[str, Recorded]


_row: msgspec.json.Decoder[Row] = msgspec.json.Decoder(Row)


def key_of(messages: Any) -> str:
    """SHA-256, in hex, of the messages as JSON with sorted keys: how a request finds its recorded answers."""
    return hashlib.sha256(msgspec.json.encode(messages, order="sorted")).hexdigest()


def read(path: Path) -> Mapping[str, Row]:
    """The recording at `path` by key. Raises ConfigurationError where it is not there or lacks an answer."""
    try:
        with gzip.open(path, "rb") as lines:
            rows = [_row.decode(line) for line in lines]
    except (OSError, msgspec.DecodeError) as fault:
        raise ConfigurationError(f"cannot read the recording {path}: {fault}; make one with `make record`") from fault
    for row in rows:
        if lacking := set(MODELS) - set(row.answers):
            raise ConfigurationError(f"{path}: input {row.input!r} has no answer of {', '.join(sorted(lacking))}")
    return {row.messages_sha256: row for row in rows}


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write the recording; the same rows give the same bytes."""
    encoded = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed:
        packed.write(encoded)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
