"""Read a reference file: JSONL, one right answer a line.

    {"input_sha256": "99ce…", "value": "net", "source": "Debian Section", "version": "bookworm"}

`input_sha256` is the SHA-256, in hex, of the input's canonical form in UTF-8 (the last user message, NFC, without white
space at either end). `source` and `version` are for people. Every line is checked; all of the first faults are named.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tutelage.contracts.errors import ConfigurationError

MAX_VALUE_CHARACTERS = 100_000
_SHOWN_FAULTS = 5
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the file."""

    input_sha256: str
    value: str
    source: str | None = None
    version: str | None = None


def load_labels(path: Path) -> dict[str, str]:
    """Right answers by the hash of their input. Raises ConfigurationError naming the file, the lines and the fix."""
    decoder = msgspec.json.Decoder(Reference)
    labels: dict[str, str] = {}
    faults: list[str] = []
    for number, line in _lines(path):
        try:
            _enter(labels, decoder.decode(line))
        except (msgspec.DecodeError, ValueError) as fault:
            faults.append(f"line {number}: {fault}")
            if len(faults) == _SHOWN_FAULTS:
                break
    if faults:
        raise ConfigurationError(f"reference file {path}: " + "; ".join(faults))
    if not labels:
        raise ConfigurationError(f"reference file {path} is empty: without right answers nothing can be scored")
    return labels


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except OSError as fault:
        raise ConfigurationError(f"cannot read reference file {path}: {fault.strerror}") from fault


def _enter(labels: dict[str, str], reference: Reference) -> None:
    key, value = reference.input_sha256, reference.value
    if not _SHA256.fullmatch(key):
        raise ValueError(f"input_sha256 {key[:80]!r} is not 64 lower-case hexadecimal digits")
    if not value.strip() or len(value) > MAX_VALUE_CHARACTERS:
        raise ValueError(f"value of {key[:12]}… must have 1 to {MAX_VALUE_CHARACTERS:,} characters")
    if labels.setdefault(key, value) != value:
        raise ValueError(f"input {key[:12]}… has two values, {labels[key][:40]!r} and {value[:40]!r}; keep one")
