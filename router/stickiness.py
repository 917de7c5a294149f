"""Stickiness: which value of a request names whoever must stay on one arm.

Owns the sources, their order and the hash. A route lists sources; the first that has a value wins, and the body's own hash
is always the last, so that there is always a key. The value is never shown: a key is a hash over source, tenant and value,
so that two tenants' user "1" are two users. Must not know how a request is parsed: it asks for a value when its turn comes.

A new source that is a string at the top level of the body needs no code. Another kind is one branch in `sticky_key`.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

HEADER = "header:"
FIRST_MESSAGE = "first_message"
BODY = "body"


class Candidates(Protocol):
    """The values of one request that may name its user; each is asked for only when its turn comes."""

    @property
    def tenant(self) -> str: ...

    def header(self, name: str, /) -> str | None:
        """By lower-case name."""

    def field(self, name: str, /) -> object:
        """At the top level of the body; only strings count."""

    def first_message(self) -> str | None:
        """The system text and the first user text, joined; None where there is none."""

    def body_digest(self) -> bytes:
        """A digest of the body's bytes."""


def sticky_key(sources: Sequence[str], candidates: Candidates) -> tuple[str, str]:
    """The first of `sources` that has a value, and the key made of it: 32 hexadecimal digits. Empty values do not count."""
    for source in sources:
        if source == FIRST_MESSAGE:
            value = candidates.first_message()
        elif source == BODY:
            break
        elif source.startswith(HEADER):
            value = candidates.header(_header(source))
        else:
            found = candidates.field(source)
            value = found if isinstance(found, str) else None
        if value:
            return source, _key(source, candidates.tenant, value)
    return BODY, _key(BODY, candidates.tenant, candidates.body_digest().hex())


@lru_cache(maxsize=1024)
def _header(source: str) -> str:
    """The name behind `header:`."""
    return source[len(HEADER) :].lower()


def _key(source: str, tenant: str, value: str) -> str:
    """JSON may hold lone surrogates and NUL: the one must not raise, and lengths keep fields from running together."""
    text = f"{source}\0{len(tenant)}\0{tenant}\0{value}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16).hexdigest()
