"""Evidence with its log-capital kept up to date, so that looking after every unit is cheap.

Owns   `Account`: one cell's `Evidence` and, beside it, L for promotion and L' for futility.
Knows not  thresholds, priors, where its null mean comes from.

The capital is a cache of the counts, never stored: `reopened` computes it in canonical order. Added up unit by unit it
differs from that by less than 1e-9; whoever compares it with a threshold uses `reaches`, which reads a near call again
in canonical order. So a decision is a function of the counts alone, however they arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scoring.evidence import Cell, Evidence, harm_milli, promotion_milli
from scoring.stats.bets import FloatArray, Prior
from scoring.stats.eprocess import log_capital, log_e, log_e_of, log_increment
from scoring.stats.lattice import LATTICE
from tutelage.contracts.decisions import Unit

_NEAR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One cell's evidence against the mean `null_mean`. `capital` and `against` are computed from it."""

    evidence: Evidence
    null_mean: float
    capital: FloatArray = field(compare=False, repr=False)
    against: FloatArray = field(compare=False, repr=False)

    def add(self, units: Sequence[Unit]) -> Account:
        """The account after `units`, in any order."""
        capital, against, metric = self.capital, self.against, self.evidence.cell.metric
        for unit in units:
            d_milli = promotion_milli(unit, metric)
            capital = capital + log_increment(unit.weight_milli, d_milli, self.null_mean)
            opposed = -min(d_milli + 1, LATTICE) if unit.missing is None else -harm_milli(unit, metric)
            against = against + log_increment(unit.weight_milli, opposed, -self.null_mean)
        evidence = self.evidence.add_all(units)
        return Account(evidence=evidence, null_mean=self.null_mean, capital=capital, against=against)

    def log_e(self, prior: Prior) -> float:
        """log E against "worse than the margin"."""
        return log_e(self.capital, prior)

    def log_e_against(self, prior: Prior) -> float:
        """log E' against "not worse than the margin"."""
        return log_e(self.against, prior)

    def canonical(self, prior: Prior) -> float:
        """log E computed from the counts alone: the same bits wherever and whenever it is replayed."""
        return log_e_of(self.evidence.promotion(), prior)

    def canonical_against(self, prior: Prior) -> float:
        return log_e_of(self.evidence.opposed(), prior)

    def reaches(self, need: float, prior: Prior) -> bool:
        """Whether log E ≥ `need`."""
        # E is a mean of exp(L_j) with weights that sum to 1, so it cannot exceed the largest of them.
        if self.capital.max() < need - _NEAR:
            return False
        value = self.log_e(prior)
        return (self.canonical(prior) if abs(value - need) < _NEAR else value) >= need

    def reaches_against(self, need: float, prior: Prior) -> bool:
        """Whether log E' ≥ `need`."""
        if self.against.max() < need - _NEAR:
            return False
        value = self.log_e_against(prior)
        return (self.canonical_against(prior) if abs(value - need) < _NEAR else value) >= need


def opened(cell: Cell, null_mean: float) -> Account:
    """An account without a unit, against the mean `null_mean`."""
    return reopened(Evidence(cell=cell), null_mean)


def reopened(evidence: Evidence, null_mean: float) -> Account:
    """The account of stored evidence, its capital computed from the counts."""
    return Account(
        evidence=evidence,
        null_mean=null_mean,
        capital=log_capital(evidence.promotion(), null_mean=null_mean),
        against=log_capital(evidence.opposed(), null_mean=-null_mean),
    )


def mean_d(evidence: Evidence) -> float | None:
    """Mean of the plain scores; None without one."""
    weight = sum(w * count for (_, w, _), count in evidence.counts.items())
    total = sum(w * d * count for (_, w, d), count in evidence.counts.items())
    return None if weight == 0 else total / (weight * LATTICE)
