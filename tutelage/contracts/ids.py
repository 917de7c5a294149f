"""Identifiers: UUIDv7 (RFC 9562, section 5.7), 36 characters, sorted by the time at which they were made.

Time and randomness are arguments, so that a test or a replay names things the same way. Python's own `uuid.uuid7` comes
with 3.14; the libraries in the lock do not let either be given.
"""

from random import Random
from uuid import UUID

_RANDOM_BYTES = 10
_MARKS = 7 << 76 | 2 << 62
"""Version and variant."""
_DRAWN = 0xFFF << 64 | (1 << 62) - 1
_draw = Random().getrandbits  # noqa: S311 - seeded by the system; a name is no secret, and this is a system call cheaper


def uuid7(at: float, random_bytes: bytes | None = None) -> str:
    """A UUIDv7 for UTC second `at`; `random_bytes` are 10 bytes (74 bits of them are used), drawn where not
    given.

    Raises ValueError where `at` is before 1970 or `random_bytes` has another length.

    >>> uuid7(1_700_000_000.0, bytes(10))
    '018bcfe5-6800-7000-8000-000000000000'
    """
    milliseconds = int(at * 1000)
    if milliseconds < 0 or (random_bytes is not None and len(random_bytes) != _RANDOM_BYTES):
        raise ValueError(f"need at >= 0 and {_RANDOM_BYTES} random bytes, got at={at!r} and {random_bytes!r}")
    bits = _draw(8 * _RANDOM_BYTES) if random_bytes is None else int.from_bytes(random_bytes, "big")
    digits = (milliseconds << 80 | bits & _DRAWN | _MARKS).to_bytes(16, "big").hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def made_at(identifier: str) -> float:
    """The UTC second, to the millisecond, at which a UUIDv7 was made. Raises ValueError for anything else.

    >>> made_at("018bcfe5-6800-7000-8000-000000000000")
    1700000000.0
    """
    value = UUID(identifier)
    if value.version != 7:
        raise ValueError(f"{identifier!r} is not a UUIDv7")
    return (value.int >> 80) / 1000
