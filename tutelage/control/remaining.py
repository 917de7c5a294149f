"""What is left until the next rung: pairs, hours and dollars, each as a band. A point would be a lie.

Owns the forecast over all cells that lag, the fresh key and the dwell. Must not know stores or words. Holds and people's labels
come on top; what they ask for is among the blockers.
"""

import math
from collections.abc import Mapping, Sequence

from router.types import Direction
from scoring.economics import JUDGE, REVERSE, SHADOW, statement_of
from scoring.evidence import Evidence
from scoring.gates.accounts import Account
from scoring.gates.fresh import MIN_KEYS, fresh
from scoring.gates.metrics import promotion_prior, target
from scoring.gates.required import required_cells
from scoring.gates.slices import Place
from scoring.gates.view import View
from scoring.stats.planning import PairsLeft, pairs_left
from tutelage.contracts.records import Json, Spending

HOUR_S = 3_600.0
PairUsd = Mapping[Direction, float | None]
"""What one more pair costs beside serving; None: unknown."""


def remaining(view: View, pair_usd: PairUsd) -> dict[str, Json]:
    """`pairs_left` are forward pairs of the route, as many as the slowest cell needs; `fresh_left` are those of the fresh key, in
    its direction: in shadow the same pairs. What nobody knows is null.
    """
    cells = required_cells(view.state, view.epoch)
    evidence = max((_of_route(view, place, account) for place, account in cells.items()), key=lambda left: left.middle)
    key, direction = _of_fresh_key(view), view.state.fresh.evidence.cell.direction
    dwell_h = max(0.0, view.rollout.entered_at + view.epoch.dwell_s - view.now) / HOUR_S
    needs = [
        _needs(direction, forward, lately) for forward, lately in zip(_triple(evidence), _triple(key), strict=True)
    ]
    pace = {Direction.FORWARD: _pairs_per_h(view.state.overall.evidence)}
    pace |= {direction: _pairs_per_h(view.state.fresh.evidence)} if direction is Direction.REVERSE else {}
    return {
        "pairs_left": _band(_triple(evidence)),
        "fresh_left": {"direction": direction, **_band(_triple(key))},
        "hours_left": _band([max(dwell_h, *(_hours(n, pace[of]) for of, n in need.items())) for need in needs]),
        "usd_left": _band([sum(_usd(n, pair_usd.get(of)) for of, n in need.items()) for need in needs]),
    }


def pair_usd_of(spendings: Sequence[Spending], scored: int) -> PairUsd:
    """What a pair costs beside serving: the other arm's call and the judge. None where a part is not known."""
    statement = statement_of(spendings)
    judge = statement.line(JUDGE)
    calls = {Direction.FORWARD: statement.line(SHADOW), Direction.REVERSE: statement.line(REVERSE)}
    return {
        direction: None
        if not line.calls or not scored or line.unpriced or judge.unpriced
        else line.usd / line.calls + judge.usd / scored
        for direction, line in calls.items()
    }


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


def _of_fresh_key(view: View) -> PairsLeft:
    """What the fresh key needs, were its block to go on: so much log E, and so many users."""
    key, found = view.state.fresh, fresh(view)
    left = pairs_left(
        key.evidence.scored(),
        log_e=found.value,
        alpha=math.exp(-found.need),
        null_mean=key.null_mean,
        sigma0=view.epoch.sigma0,
    )
    users = float(max(0, MIN_KEYS - key.evidence.distinct_keys))
    return PairsLeft(low=max(users, left.low), middle=max(users, left.middle), high=max(users, left.high))


def _needs(direction: Direction, forward: float, lately: float) -> dict[Direction, float]:
    """Pairs by direction: one stream may serve both."""
    if direction is Direction.FORWARD:
        return {Direction.FORWARD: max(forward, lately)}
    return {Direction.FORWARD: forward, Direction.REVERSE: lately}


def _hours(pairs: float, per_h: float | None) -> float:
    return 0.0 if pairs == 0.0 else math.inf if per_h is None else pairs / per_h


def _usd(pairs: float, each: float | None) -> float:
    return 0.0 if pairs == 0.0 else math.inf if each is None else pairs * each


def _pairs_per_h(evidence: Evidence) -> float | None:
    """The pace so far; None while two units have not been seen apart."""
    if evidence.first is None or evidence.last is None or evidence.last[0] <= evidence.first[0]:
        return None
    return (evidence.units - 1) * HOUR_S / (evidence.last[0] - evidence.first[0])


def _triple(left: PairsLeft) -> tuple[float, float, float]:
    return left.low, left.middle, left.high


def _band(values: Sequence[float]) -> dict[str, Json]:
    names = ("low", "middle", "high")
    return {name: round(n, 6) if math.isfinite(n) else None for name, n in zip(names, values, strict=True)}
