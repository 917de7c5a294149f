"""Cells as a decision saw them: what is recorded, shown, and compared on replay.

Everything here is computed from the counts in canonical order, so that a replay finds the same bits. The lower bounds
make it some milliseconds: for decisions and for people, not for every look.
"""

from __future__ import annotations

import math

from scoring.evidence import Evidence
from scoring.gates.accounts import Account, futility_prior, mean_d, promotion_prior
from scoring.gates.futility import FUTILITY_NEED
from scoring.gates.state import FRESH_NEED
from scoring.gates.view import View
from scoring.stats.eprocess import lower_confidence
from tutelage.contracts.records import CellNumbers


def cells(view: View) -> tuple[CellNumbers, ...]:
    """The promotion cell, the fresh key and the futility reading, in this order."""
    quality, fresh = view.state.evidence, view.state.fresh.account
    return (
        _promotion(view, str(quality.evidence.cell), quality, view.next_need),
        _promotion(view, f"fresh:{fresh.evidence.cell}", fresh, FRESH_NEED),
        _numbers(
            f"futility:{quality.evidence.cell}",
            quality.evidence,
            log_e=quality.canonical_against(futility_prior(view.epoch)),
            threshold=FUTILITY_NEED,
        ),
    )


def _promotion(view: View, name: str, account: Account, need: float) -> CellNumbers:
    """A cell that is read for promotion, with the lower confidence bound of the level that `need` belongs to."""
    prior = promotion_prior(view.epoch)
    return _numbers(
        name,
        account.evidence,
        log_e=account.canonical(prior),
        threshold=need,
        lower_bound=lower_confidence(account.evidence.promotion(), prior, alpha=math.exp(-need)),
    )


def _numbers(
    name: str, evidence: Evidence, *, log_e: float, threshold: float, lower_bound: float | None = None
) -> CellNumbers:
    return CellNumbers(
        cell=name,
        n=evidence.units,
        mean_d=mean_d(evidence),
        log_e=log_e,
        threshold=threshold,
        lower_bound=lower_bound,
        missing=evidence.missing_by_class(),
        histogram_digest=evidence.digest(),
    )
