"""Adaptive sampling: which values of a slice have passed and need only be watched, and who gets what that saves.

Owns   `plan`. Knows not  policies' versions, salts, budgets of money.

Pairs go where they are still needed. A value is watched once its cell, and every cell of all units, has passed the next
rung's threshold. At stage entry all return to the full rate, those that have passed already too, until a block of forward
units has been counted at this stage: what was shown on an earlier one is seen again before it is only watched.
Each cell's e-process stays one, because which units are drawn follows from what came before them, never from their own
scores; in pooled cells unequal rates are weighed (`Unit.weight_milli`). Only the values of one slice can be sampled so:
then rates are equal within each of its cells.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.types import FULL_BP
from scoring.evidence import POOLED, QUALITY
from scoring.gates.metrics import promotion_prior
from scoring.gates.required import required_cells
from scoring.gates.slices import label, share
from scoring.gates.state import FRESH_BLOCK
from scoring.gates.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Values `watched` of a slice are drawn at the watching rate, all others at `forward_bp`."""

    watched: tuple[str, ...] = ()
    forward_bp: int


def plan(view: View, *, budget_bp: int, watch_bp: int) -> Rates:
    """The rates that follow from the evidence, for a mean rate of `budget_bp` where that can be."""
    name = view.epoch.gates.adaptive
    if name is None or not view.state.named or watch_bp >= budget_bp or view.state.entered < FRESH_BLOCK:
        return Rates(forward_bp=budget_bp)
    passed = {
        place
        for place, account in required_cells(view.state, view.epoch).items()
        if account.reaches(view.next_need, promotion_prior(view.epoch, place))
    }
    if any(place not in passed for place in required_cells(view.state, view.epoch) if place[0] == POOLED):
        return Rates(forward_bp=budget_bp)
    watched = [value for value in sorted(view.state.named[name]) if (label(name, value), QUALITY) in passed]
    part = sum(share(view.state.traffic, label(name, value)) for value in watched)
    saved = 0.0 if part >= 1.0 else (budget_bp - watch_bp) * part / (1.0 - part)
    return Rates(watched=tuple(watched), forward_bp=min(FULL_BP, round(budget_bp + saved)))
