"""Which part of a route's pairs is judged: what the setting allows and the day's budget affords.

Owns the forecast: how many pairs are still to come today. Must not know content, scores or the gate: the rate is known
before a pair is, and a pair is drawn by a hash.
"""

from collections.abc import Mapping

from router.types import FULL_BP
from scoring.judges.budget import Budget, budget_of
from tutelage.contracts.prices import PriceList
from tutelage.contracts.settings import Settings
from tutelage.control.metrics import Metrics
from tutelage.store.base import Store

EVERY_S = 60.0
"""How often the rate follows traffic and spend: so much of a burst is drawn at the rate before it."""
DAY_S = 86_400.0
WINDOWS_S = (300.0, 3_600.0, DAY_S)
"""Over which traffic is measured; the busiest of them is the forecast."""


class JudgeRates:
    """The rates in force. Raises ConfigurationError where a budget is set for a judge of unknown price."""

    def __init__(self, store: Store, settings: Settings, metrics: Metrics) -> None:
        prices = PriceList(settings.upstreams)
        self._store = store
        self._metrics = metrics
        self._budgets: Mapping[str, Budget | None] = {
            name: budget_of(settings, name, prices)
            for name, route in settings.routes.items()
            if route.judge is not None
        }
        self._most = {
            name: FULL_BP if route.judge is None or route.judge.rate == "auto" else route.judge.rate
            for name, route in settings.routes.items()
        }
        self._rates: dict[str, int] = {}
        self._due_at = float("-inf")

    def now(self, now: float) -> Mapping[str, int]:
        """Basis points by route, looked at again once a minute."""
        if now >= self._due_at:
            self._due_at = now + EVERY_S
            self._rates = {name: self._rate_bp(name, budget, now) for name, budget in self._budgets.items()}
            for name, rate in self._rates.items():
                self._metrics.judge_rate.labels(name).set(rate)
        return self._rates

    def _rate_bp(self, name: str, budget: Budget | None, now: float) -> int:
        if budget is None:
            return self._most[name]
        day = int(now // DAY_S)
        today, yesterday = self._store.spend(name, day), self._store.spend(name, day - 1)
        affordable = budget.rate_bp(
            spent_nusd=budget.spent_nusd(today),
            pair_nusd=budget.pair_nusd(
                budget.spent_nusd(today, yesterday), self._store.scored(name, (day - 1) * DAY_S)
            ),
            waiting=self._store.depth(name).waiting,
            expected=self._per_s(name, now) * ((day + 1) * DAY_S - now),
        )
        return min(self._most[name], affordable)

    def _per_s(self, name: str, now: float) -> float:
        return max(self._store.drawable(name, now - window) / window for window in WINDOWS_S)
