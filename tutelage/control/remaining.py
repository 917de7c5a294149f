"""What is left until the next rung: pairs, hours and dollars, each as a band. A point would be a lie.

Owns the forecast over all cells that lag and the dwell. Must not know stores or words. Holds, the fresh key and people's
labels come on top; what they ask for is among the blockers.
"""

import math
from collections.abc import Sequence

from scoring.economics import JUDGE, SHADOW, statement_of
from scoring.evidence import Evidence
from scoring.gates.accounts import Account
from scoring.gates.metrics import promotion_prior, target
from scoring.gates.required import required_cells
from scoring.gates.slices import Place
from scoring.gates.view import View
from scoring.stats.planning import PairsLeft, pairs_left
from tutelage.contracts.records import Json, Spending

HOUR_S = 3_600.0


def remaining(view: View, pair_usd: float | None) -> dict[str, Json]:
    """`pairs_left` are forward pairs of the route, as many as the slowest cell needs. What nobody knows is null."""
    cells = required_cells(view.state, view.epoch)
    pairs = max((_of_route(view, place, account) for place, account in cells.items()), key=lambda left: left.middle)
    hour = _pairs_per_h(view.state.overall.evidence)
    dwell_h = max(0.0, view.rollout.entered_at + view.epoch.dwell_s - view.now) / HOUR_S
    return {
        "pairs_left": _band([pairs.low, pairs.middle, pairs.high]),
        "hours_left": _band(
            [max(dwell_h, n / hour) if hour else math.nan for n in (pairs.low, pairs.middle, pairs.high)]
        ),
        "usd_left": _band(
            [math.nan if pair_usd is None else n * pair_usd for n in (pairs.low, pairs.middle, pairs.high)]
        ),
    }


def pair_usd_of(spendings: Sequence[Spending], scored: int) -> float | None:
    """What a forward pair costs beside serving: the shadow call and the judge. None where a part is not known."""
    statement = statement_of(spendings)
    shadow, judge = statement.line(SHADOW), statement.line(JUDGE)
    if not shadow.calls or not scored or shadow.unpriced or judge.unpriced:
        return None
    return shadow.usd / shadow.calls + judge.usd / scored


def _of_route(view: View, place: Place, account: Account) -> PairsLeft:
    """What one cell needs, in pairs of the route: it sees only its part of them."""
    left = pairs_left(
        account.evidence.scored(),
        log_e=account.log_e(promotion_prior(view.epoch, place)),
        alpha=math.exp(-view.next_need),
        null_mean=account.null_mean,
        sigma0=view.epoch.sigma0,
        mean0=target(view.epoch, place).mean0,
    )
    each = view.state.overall.evidence.units / account.evidence.units if account.evidence.units else 1.0
    return PairsLeft(low=each * left.low, middle=each * left.middle, high=each * left.high)


def _pairs_per_h(evidence: Evidence) -> float | None:
    """The pace so far; None while two units have not been seen apart."""
    if evidence.first is None or evidence.last is None or evidence.last[0] <= evidence.first[0]:
        return None
    return (evidence.units - 1) * HOUR_S / (evidence.last[0] - evidence.first[0])


def _band(values: Sequence[float]) -> Json:
    names = ("low", "middle", "high")
    return {name: round(n, 6) if math.isfinite(n) else None for name, n in zip(names, values, strict=True)}
