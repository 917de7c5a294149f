"""Cells as a decision saw them: what is recorded, shown, and compared on replay.

Everything here is computed from the counts in canonical order, so that a replay finds the same bits. The lower bounds
make it some milliseconds: for decisions and for people, not for every look.
"""

from __future__ import annotations

import math

import msgspec

from scoring.evidence import Evidence
from scoring.gates.accounts import futility_prior, mean_d, promotion_prior
from scoring.gates.futility import FUTILITY_NEED
from scoring.gates.state import FRESH_NEED
from scoring.gates.view import View
from scoring.stats.eprocess import lower_confidence
from tutelage.contracts.records import CellNumbers


def cells(view: View) -> tuple[CellNumbers, ...]:
    """The promotion cell, the fresh key and the futility reading, in this order, without bounds."""
    quality, fresh = view.state.evidence, view.state.fresh
    prior = promotion_prior(view.epoch)
    against = quality.canonical_against(futility_prior(view.epoch))
    return (
        _numbers(str(quality.evidence.cell), quality.evidence, quality.canonical(prior), view.next_need),
        _numbers(f"fresh:{fresh.evidence.cell}", fresh.evidence, fresh.canonical(prior), FRESH_NEED),
        _numbers(f"futility:{quality.evidence.cell}", quality.evidence, against, FUTILITY_NEED),
    )


def with_bounds(view: View) -> tuple[CellNumbers, ...]:
    """The same, with the lower confidence bounds that belong to the thresholds: "not worse than this" right now."""
    quality, fresh, against = cells(view)
    return (
        _bounded(view, quality, view.state.evidence.evidence),
        _bounded(view, fresh, view.state.fresh.evidence),
        against,
    )


def _bounded(view: View, numbers: CellNumbers, evidence: Evidence) -> CellNumbers:
    prior, alpha = promotion_prior(view.epoch), math.exp(-numbers.threshold)
    bound = lower_confidence(evidence.promotion(), prior, alpha=alpha)
    return msgspec.structs.replace(numbers, lower_bound=bound)


def _numbers(name: str, evidence: Evidence, log_e: float, threshold: float) -> CellNumbers:
    return CellNumbers(
        cell=name,
        n=evidence.units,
        mean_d=mean_d(evidence),
        log_e=log_e,
        threshold=threshold,
        missing=evidence.missing_by_class(),
        histogram_digest=evidence.digest(),
    )
