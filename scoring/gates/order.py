"""Alarm: the judge minds the order in which it is shown the answers.

Owns   `Order`, a two-sided detector over what the answer shown first has over the second, and its alarm.
Knows not  judges, or what follows: the order is drawn anew for each pair, so that its effect widens the scores and moves no
       mean. It freezes nothing; it says that a judge reads places, and that more pairs should be asked in both orders.

For a judge who does not mind the order the effect has mean 0, whatever the answers are. While it is within ±`TOLERANCE` at
least `A_ORDER` units pass, on average, before a false alarm (`scoring.stats.shiryaev_roberts.drift_statistic`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from scoring.evidence import ORDER
from scoring.gates.verdict import Finding, Verdict
from scoring.stats.bets import FloatArray
from scoring.stats.lattice import LATTICE
from scoring.stats.shiryaev_roberts import drift_statistic, drift_step, fresh_drift
from tutelage.contracts.decisions import Unit

TOLERANCE = 0.05
"""A place that is worth less than this on the scale of d is no alarm."""
A_ORDER = 1_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The units of an epoch that a judge has scored, and the detector over them. `total_milli` / `n` is their mean effect."""

    n: int = 0
    total_milli: int = 0
    rows: FloatArray = field(default_factory=fresh_drift)

    def after(self, units: Iterable[Unit]) -> Order:
        """The watch after `units`; what no judge has seen says nothing of it."""
        effects = [effect for unit in units if (effect := unit.metrics.get(ORDER)) is not None]
        if not effects:
            return self
        rows = self.rows
        for effect in effects:
            rows = drift_step(rows, effect, tolerance=TOLERANCE)
        total = self.total_milli + sum(round(LATTICE * effect) for effect in effects)
        return Order(n=self.n + len(effects), total_milli=total, rows=rows)

    @property
    def mean(self) -> float | None:
        """Mean of first minus second; None where no judge has been asked."""
        return self.total_milli / (LATTICE * self.n) if self.n else None


def order_effect(order: Order) -> Finding:
    """FAIL where the answer shown first is worth more, or less, than the second by over `TOLERANCE`."""
    value = drift_statistic(order.rows, tolerance=TOLERANCE)
    seen = "no judge has been asked" if order.mean is None else f"mean {order.mean:+.3f} over {order.n:,} units"
    return Finding(
        gate="order",
        verdict=Verdict.FAIL if value >= A_ORDER else Verdict.PASS,
        value=value,
        need=A_ORDER,
        n=order.n,
        template=f"the answer shown first against the second: {seen}; detector at {{value:,.0f}}, alarm at {{need:,.0f}}",
    )
