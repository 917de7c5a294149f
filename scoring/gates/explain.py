"""A rollout explained: everything that `tutelage explain` and `GET …/gates` show.

Owns   `Explanation`: cells with bounds, every gate's finding, detectors with thresholds, what blocks, pairs left.
Knows not  how it is printed. `as_json` is what the admin plane answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from router.rollout import Rollout
from scoring.gates.accounts import promotion_prior
from scoring.gates.controller import GATES, Ruling, decide
from scoring.gates.facts import Facts
from scoring.gates.harm import A_BACK, A_DOWN, A_HOLD
from scoring.gates.numbers import with_bounds
from scoring.gates.state import State
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View, look
from scoring.stats.planning import PairsLeft, pairs_left
from tutelage.contracts.records import CellNumbers, Epoch, Json

DETECTOR_NEEDS = {"hold": A_HOLD, "down": A_DOWN, "back": A_BACK}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One look, in full. `pairs_left` is a band of forward pairs to the next rung's evidence; None on the last rung."""

    ruling: Ruling
    phase: str
    rung: int
    share_bp: int
    next_bp: int | None
    cells: tuple[CellNumbers, ...]
    findings: tuple[Finding, ...]
    detectors: dict[str, tuple[float, float]]
    distinct_keys: int
    pairs_left: PairsLeft | None

    def as_json(self) -> Json:
        """JSON-ready; infinities are None."""
        left = self.pairs_left
        event = self.ruling.event
        return {
            "phase": self.phase,
            "rung": self.rung,
            "share_bp": self.share_bp,
            "next_bp": self.next_bp,
            "would": None if event is None else type(event).__name__,
            "reason": self.ruling.reason,
            "blockers": list(self.ruling.blockers),
            "cells": [{name: getattr(cell, name) for name in cell.__struct_fields__} for cell in self.cells],
            "gates": {
                f.gate: {"verdict": f.verdict.value, "value": f.value, "need": f.need, "words": f.words}
                for f in self.findings
            },
            "detectors": {name: {"value": v, "alarm": need} for name, (v, need) in self.detectors.items()},
            "distinct_keys": self.distinct_keys,
            "pairs_left": None if left is None else [_finite(n) for n in (left.low, left.middle, left.high)],
        }

    def as_text(self) -> str:
        """The same in a few lines of words."""
        to = "the last rung" if self.next_bp is None else f"next {self.next_bp / 100:g} %"
        lines = [f"{self.phase} at {self.share_bp / 100:g} %, {to}: {self.ruling.reason}"]
        lines += [_cell_in_words(cell) for cell in self.cells]
        lines += [f"{f.gate}: {f.verdict.value}: {f.words}" for f in self.findings if f.verdict is not Verdict.PASS]
        lines += [f"detector {name}: {v:,.1f} of {need:,.0f}" for name, (v, need) in self.detectors.items()]
        if (left := self.pairs_left) is not None:
            high = "nobody knows how many" if math.isinf(left.high) else f"{left.high:,.0f}"
            lines.append(f"pairs left to the next rung: {left.low:,.0f} to {high}")
        return "\n".join(lines)


def explain(state: State, rollout: Rollout, epoch: Epoch, facts: Facts, now: float) -> Explanation:
    """All that a look at `now` finds. Some milliseconds."""
    view = look(state, rollout, epoch, facts, now)
    shares, rung = rollout.ladder.shares_bp, rollout.rung
    return Explanation(
        ruling=decide(state, rollout, epoch, facts, now),
        phase=rollout.phase.value,
        rung=rung,
        share_bp=rollout.share_bp,
        next_bp=None if rung == rollout.ladder.top else shares[rung + 1],
        cells=with_bounds(view),
        findings=tuple(gate(view) for gate in GATES.values()),
        detectors={name: (view.detectors[name], need) for name, need in DETECTOR_NEEDS.items()},
        distinct_keys=view.state.fresh.evidence.distinct_keys,
        pairs_left=_left(view),
    )


def _left(view: View) -> PairsLeft | None:
    if view.rollout.rung == view.rollout.ladder.top:
        return None
    account, prior = view.state.evidence, promotion_prior(view.epoch)
    return pairs_left(
        account.evidence.promotion(),
        log_e=account.canonical(prior),
        alpha=math.exp(-view.next_need),
        null_mean=-view.epoch.delta,
        sigma0=view.epoch.sigma0,
    )


def _cell_in_words(cell: CellNumbers) -> str:
    mean = "no scores" if cell.mean_d is None else f"mean d {cell.mean_d:+.3f}"
    bound = "" if cell.lower_bound is None else f", not worse than {cell.lower_bound:+.3f}"
    missing = "".join(f", {count} {name}" for name, count in sorted(cell.missing.items()))
    return f"{cell.cell}: n {cell.n}, {mean}, log E {cell.log_e:.2f} of {cell.threshold:.2f}{bound}{missing}"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
