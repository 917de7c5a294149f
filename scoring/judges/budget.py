"""A day's budget of judge calls: what is left of it, and which part of the coming pairs it affords. Pure.

The rate is set so that the money lasts until the end of the UTC day: what is left of the budget over what the coming pairs
will cost. So evidence never stops at noon. The rate falls long before the money does, and what is drawn is judged; the cap
itself only stops who outran every forecast.
"""

import math
from dataclasses import dataclass

from router.types import FULL_BP
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.prices import PriceList
from tutelage.contracts.records import Spending, Usage
from tutelage.contracts.routes import JudgeSettings
from tutelage.contracts.settings import Settings

ASSUMED = Usage(prompt=4_000, completion=300)
"""A question of which nothing is known yet, or whose price was never told."""
ASSUMED_MS = 5_000.0
NUSD = 1_000_000_000
ENOUGH_PAIRS = 20
"""From so many judged pairs on their mean is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The cap of a UTC day, and what a pair is assumed to cost while nothing is known."""

    cap_nusd: int
    assumed_nusd: int

    def spent_nusd(self, *days: Spending) -> int:
        """What judging came to on these days; what nobody told the price of counts as assumed."""
        return sum(day.nusd + day.unpriced * self.assumed_nusd for day in days)

    def pair_nusd(self, spent_nusd: int, pairs: int) -> float:
        """What a pair costs on average when `pairs` of them have cost so much."""
        return float(self.assumed_nusd) if pairs < ENOUGH_PAIRS else spent_nusd / pairs

    def rate_bp(self, *, spent_nusd: int, pair_nusd: float, waiting: int, expected: float) -> int:
        """The part of `expected` pairs that the rest of the day affords, when `waiting` ones are drawn already."""
        left = self.cap_nusd - spent_nusd - waiting * pair_nusd
        needed = expected * pair_nusd
        if left <= 0:
            return 0
        return FULL_BP if left >= needed else math.floor(FULL_BP * left / needed)


def budget_of(settings: Settings, route: str, prices: PriceList) -> Budget | None:
    """The budget of a route's judge; None where it has none. Raises ConfigurationError where its price is not known."""
    judge = settings.routes[route].judge
    if judge is None or judge.max_usd_per_day is None:
        return None
    questions = 1.0 + judge.both_orders / FULL_BP
    assumed = max(_assumed_nusd(route, name, prices) for name in _judges(judge))
    return Budget(cap_nusd=round(judge.max_usd_per_day * NUSD), assumed_nusd=max(1, round(assumed * questions)))


def _judges(judge: JudgeSettings) -> list[str]:
    return [name for name in (judge.upstream, judge.fallback) if name is not None]


def _assumed_nusd(route: str, upstream: str, prices: PriceList) -> int:
    price = prices.price(upstream, ASSUMED, ASSUMED_MS)
    if price is None:
        raise ConfigurationError(
            f"routes.{route}.judge.max_usd_per_day: nobody knows what upstream {upstream!r} costs; set "
            f"upstreams.{upstream}.cost"
        )
    return price.nusd
