"""Cells as a decision saw them: what is recorded, shown, and compared on replay.

Everything here is computed from the counts in canonical order, so that a replay finds the same bits. The lower bounds
make it some milliseconds: for decisions and for people, not for every look.
"""

from __future__ import annotations

import math

import msgspec

from scoring.evidence import Evidence
from scoring.gates.accounts import Account, mean_d
from scoring.gates.anchored import is_asked, log_e_of
from scoring.gates.futility import FUTILITY_NEED
from scoring.gates.metrics import futility_prior, promotion_prior
from scoring.gates.required import required_cells
from scoring.gates.state import FRESH_NEED
from scoring.gates.view import View
from scoring.stats.bets import Prior
from scoring.stats.eprocess import lower_confidence
from tutelage.contracts.decisions import CellNumbers


def cells(view: View) -> tuple[CellNumbers, ...]:
    """Every required cell, overall quality first; the fresh key; futility; labels where they are asked for; no bounds."""
    read = [_read(name, account, prior, need) for name, account, prior, need in _tested(view)]
    overall = view.state.overall
    against = overall.canonical_against(futility_prior(view.epoch))
    name = f"futility:{overall.evidence.cell}"
    return (*read, _numbers(name, overall.evidence, against, FUTILITY_NEED), *_labelled(view))


def with_bounds(view: View) -> tuple[CellNumbers, ...]:
    """The same, with the lower confidence bounds that belong to the thresholds: "not worse than this" right now."""
    read, tested = cells(view), _tested(view)
    bounded = [
        msgspec.structs.replace(
            numbers, lower_bound=lower_confidence(account.evidence.promotion(), prior, alpha=math.exp(-need))
        )
        for numbers, (_, account, prior, need) in zip(read, tested, strict=False)
    ]
    return (*bounded, *read[len(tested) :])


def _labelled(view: View) -> tuple[CellNumbers, ...]:
    if not is_asked(view):
        return ()
    counted, name = view.state.labels, f"labels:{view.state.overall.evidence.cell}"
    return (CellNumbers(cell=name, n=counted.n, mean_d=counted.mean, log_e=log_e_of(view), threshold=view.next_need),)


def _tested(view: View) -> list[tuple[str, Account, Prior, float]]:
    """What stands against a threshold: its name, account, prior and log(1/α)."""
    fresh = view.state.fresh
    required = [
        (str(account.evidence.cell), account, promotion_prior(view.epoch, place), view.next_need)
        for place, account in required_cells(view.state, view.epoch).items()
    ]
    return [*required, (f"fresh:{fresh.evidence.cell}", fresh, promotion_prior(view.epoch), FRESH_NEED)]


def _read(name: str, account: Account, prior: Prior, need: float) -> CellNumbers:
    return _numbers(name, account.evidence, account.canonical(prior), need)


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
