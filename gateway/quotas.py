"""Quotas: the limits of keys, kept for the keys that have any.

A limit is declared for a host and divided by its gateway processes. A key without limits costs two comparisons; one with them a
dictionary look-up, whatever the number of keys. What was counted lives as long as the process and the key. Internal keys have no
limits: what judges may spend is the judges' settings.

The arithmetic is `router.limits`; here it meets keys, clocks, prices and the refusal. Must not know routes or HTTP.
"""

from collections.abc import Callable, Iterable, Sequence

from gateway.errors import LimitReached
from gateway.usage import usage_in
from router.limits import Exceeded, Limits, Meter, Which
from router.types import Arm, Needs
from tutelage.capture.raw import RawAttempt
from tutelage.contracts.keys import Key, KeyLimits
from tutelage.contracts.prices import NUSD, PriceList

DAY_S = 86_400


class Quota:
    """One request of a limited key. `reserve` at most once, `settle` at most once, `leave` exactly once."""

    __slots__ = ("_key", "_limits", "_meter", "_quotas", "_reserved")

    def __init__(self, quotas: "Quotas", key: Key, meter: Meter, limits: Limits) -> None:
        self._quotas = quotas
        self._key = key
        self._meter = meter
        self._limits = limits
        self._reserved = 0

    @property
    def counts_usage(self) -> bool:
        """Whether the answer's tokens must be known at its end."""
        return self._limits.tokens is not None or self._limits.nusd is not None

    def reserve(self, needs: Needs) -> None:
        """Take the request's tokens by estimate: its text, and as much answer as it asks for. Raises LimitReached."""
        estimate = needs.prompt_tokens_at_least + needs.output_tokens
        exceeded = self._meter.reserve(self._limits, estimate, self._quotas.monotonic())
        if exceeded is not None:
            raise self._quotas.refusal(self._key, exceeded)
        self._reserved = estimate

    def settle(self, attempts: Sequence[RawAttempt], served: Arm | None) -> None:
        """Correct the estimate by what the served answer cost, and count the money of all attempts. An answer that nobody
        counted costs its estimate, no answer nothing."""
        if not self.counts_usage:
            return
        usages = [usage_in(attempt.chunks) for attempt in attempts]
        used = 0 if served is None else self._reserved
        if served is not None and (usage := usages[-1]) is not None:
            used = (usage.prompt or 0) + (usage.completion or 0)
        self._meter.correct(self._limits, used - self._reserved)
        for attempt, usage in zip(attempts, usages, strict=True):
            price = self._quotas.prices.price(attempt.upstream, usage, attempt.total_ms)
            if price is not None:
                self._meter.spend(price.nusd, self._quotas.day())

    def leave(self) -> None:
        self._meter.leave()


class Quotas:
    """The limited keys of one process. `prices` is replaced when there is a new snapshot."""

    def __init__(
        self,
        *,
        defaults: KeyLimits,
        processes: int,
        prices: PriceList,
        monotonic: Callable[[], float],
        utc: Callable[[], float],
    ) -> None:
        self.prices = prices
        self.processes = processes
        self.monotonic = monotonic
        self._utc = utc
        self._defaults = None if defaults == KeyLimits() else defaults
        self._metered: dict[str, tuple[Meter, Limits]] = {}

    def enter(self, key: Key) -> Quota | None:
        """The right to one request; None where the key has no limits. Raises LimitReached."""
        if key.limits is None and self._defaults is None:
            return None
        if key.role != "data":
            return None
        metered = self._metered.get(key.id)
        if metered is None:
            metered = self._metered[key.id] = Meter(), self._limits_of(key)
        meter, limits = metered
        exceeded = meter.enter(limits, self.monotonic(), self.day())
        if exceeded is not None:
            raise self.refusal(key, exceeded)
        return Quota(self, key, meter, limits)

    def refusal(self, key: Key, exceeded: Exceeded) -> LimitReached:
        """What the client is told: the limit as it is declared, though what was reached is this process's part of it."""
        declared = self._declared_for(key)
        limit = {
            Which.CONCURRENCY: declared.concurrency,
            Which.REQUESTS: declared.requests,
            Which.TOKENS: declared.tokens,
            Which.MONEY: declared.nusd,
        }[exceeded.which]
        return LimitReached(exceeded, exceeded.limit if limit is None else limit, self.processes)

    def forget_others(self, keys: Iterable[Key]) -> None:
        """What was counted is kept for `keys`; their limits are read anew."""
        metered, self._metered = self._metered, {}
        for key in keys if metered else ():
            if key.id in metered:
                self._metered[key.id] = metered[key.id][0], self._limits_of(key)

    def day(self) -> int:
        """The UTC day, counted from 1970."""
        return int(self._utc() // DAY_S)

    def _limits_of(self, key: Key) -> Limits:
        """This process's part of a key's limits."""
        return self._declared_for(key).part(self.processes)

    def _declared_for(self, key: Key) -> Limits:
        """The key's own limits, the defaults where it has none."""
        own, usual = key.limits or KeyLimits(), self._defaults or KeyLimits()
        usd = own.usd_per_day if own.usd_per_day is not None else usual.usd_per_day
        return Limits(
            concurrency=own.max_concurrency if own.max_concurrency is not None else usual.max_concurrency,
            requests=own.rpm if own.rpm is not None else usual.rpm,
            tokens=own.tpm if own.tpm is not None else usual.tpm,
            nusd=None if usd is None else round(usd * NUSD),
        )
