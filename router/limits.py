"""The limits of one key: what it may have open, ask and spend, as arithmetic.

Requests and tokens are counted by the generic cell rate algorithm: a bucket that holds one minute's worth and refills evenly.
All that is kept of a bucket is the moment at which it will be full again. A request's tokens are reserved by an estimate and
corrected when they are known; the correction may overdraw the bucket, and then the next request waits. Money is counted per
UTC day and known afterwards only, so what is under way when the limit is reached still passes.

Time is an argument: `now` in seconds of any monotonic clock, `day` in days. Must not know keys, requests or prices.
"""

from dataclasses import dataclass
from enum import StrEnum

MINUTE_S = 60.0


class Which(StrEnum):
    """Which limit was reached."""

    CONCURRENCY = "concurrency"
    REQUESTS = "requests"
    TOKENS = "tokens"
    MONEY = "money"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None: no bound. Requests and tokens per minute; money in nano-dollars per UTC day."""

    concurrency: int | None = None
    requests: int | None = None
    tokens: int | None = None
    nusd: int | None = None

    def part(self, of: int) -> "Limits":
        """One of `of` equal parts, rounded up: what one of so many processes may give."""
        return Limits(
            concurrency=_part(self.concurrency, of),
            requests=_part(self.requests, of),
            tokens=_part(self.tokens, of),
            nusd=_part(self.nusd, of),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A limit that was reached. `wait_s` is how long until it may be asked again, None: never as it is."""

    which: Which
    limit: int
    remaining: int
    wait_s: float | None


class Meter:
    """What one key has open and has used. Not for threads."""

    __slots__ = ("_day", "_requests_full_at", "_spent", "_tokens_full_at", "open")

    def __init__(self) -> None:
        self.open = 0
        self._requests_full_at = 0.0
        self._tokens_full_at = 0.0
        self._day = 0
        self._spent = 0

    def enter(self, limits: Limits, now: float, day: int) -> Exceeded | None:
        """Open one request, or say which limit stands against it; then nothing is counted. Every entry leaves once."""
        if limits.concurrency is not None and self.open >= limits.concurrency:
            return Exceeded(which=Which.CONCURRENCY, limit=limits.concurrency, remaining=0, wait_s=1.0)
        if limits.nusd is not None and self._spent_on(day) >= limits.nusd:
            return Exceeded(which=Which.MONEY, limit=limits.nusd, remaining=0, wait_s=None)
        if limits.requests is not None:
            full_at, exceeded = _taken(Which.REQUESTS, limits.requests, self._requests_full_at, 1, now)
            if exceeded is not None:
                return exceeded
            self._requests_full_at = full_at
        self.open += 1
        return None

    def leave(self) -> None:
        self.open -= 1

    def reserve(self, limits: Limits, tokens: int, now: float) -> Exceeded | None:
        """Take `tokens` in advance, or say that they are not there."""
        if limits.tokens is None:
            return None
        full_at, exceeded = _taken(Which.TOKENS, limits.tokens, self._tokens_full_at, tokens, now)
        if exceeded is None:
            self._tokens_full_at = full_at
        return exceeded

    def correct(self, limits: Limits, tokens: int) -> None:
        """`tokens` more than were reserved have been used; fewer where negative."""
        if limits.tokens is not None:
            self._tokens_full_at += tokens * MINUTE_S / limits.tokens

    def spend(self, nusd: int, day: int) -> None:
        self._spent = self._spent_on(day) + nusd

    def _spent_on(self, day: int) -> int:
        if day != self._day:
            self._day, self._spent = day, 0
        return self._spent


def _part(bound: int | None, of: int) -> int | None:
    return None if bound is None else -(-bound // of)


def _taken(which: Which, per_minute: int, full_at: float, count: int, now: float) -> tuple[float, Exceeded | None]:
    """When the bucket will be full again if `count` are taken from it now, and whether they may not be."""
    full_at = max(full_at, now)
    after = full_at + count * MINUTE_S / per_minute
    wait_s = after - now - MINUTE_S
    if wait_s <= 1e-9:
        return after, None
    left = max(0, int((MINUTE_S - (full_at - now)) * per_minute / MINUTE_S))
    waits = wait_s if count <= per_minute else None
    return after, Exceeded(which=which, limit=per_minute, remaining=left, wait_s=waits)
