"""Evidence with its log-capital kept up to date, so that looking after every unit is cheap.

Owns   `Account`: one cell's `Evidence` and, beside it, L for promotion and L' for futility.
Knows not  thresholds.

The capital is a cache of the counts, never stored: `reopened` computes it in canonical order. Added up unit by unit it
differs from that by less than 1e-9; whoever compares it with a threshold uses `reaches`, which reads a near call again
in canonical order. So a decision is a function of the counts alone, however they arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from scoring.evidence import Cell, Evidence, promotion_milli
from scoring.stats.bets import FloatArray, Prior, planning_prior
from scoring.stats.eprocess import log_capital, log_e, log_e_of, log_increment
from scoring.stats.lattice import LATTICE
from tutelage.contracts.records import Epoch, Unit

_NEAR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One cell's evidence. Equal when the evidence is: `capital` and `against` are computed from it."""

    evidence: Evidence
    capital: FloatArray = field(compare=False, repr=False)
    against: FloatArray = field(compare=False, repr=False)

    def add(self, units: Sequence[Unit], delta: float) -> Account:
        """The account after `units`, in any order; `delta` is the margin that it was opened for."""
        capital, against = self.capital, self.against
        for unit in units:
            d_milli = promotion_milli(unit)
            capital = capital + log_increment(unit.weight_milli, d_milli, -delta)
            opposed = 0 if unit.missing is not None else -min(d_milli + 1, LATTICE)
            against = against + log_increment(unit.weight_milli, opposed, delta)
        return Account(evidence=self.evidence.add_all(units), capital=capital, against=against)

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


def opened(cell: Cell, delta: float) -> Account:
    """An account without a unit, for the margin `delta`."""
    return reopened(Evidence(cell=cell), delta)


def reopened(evidence: Evidence, delta: float) -> Account:
    """The account of stored evidence, its capital computed from the counts."""
    return Account(
        evidence=evidence,
        capital=log_capital(evidence.promotion(), null_mean=-delta),
        against=log_capital(evidence.opposed(), null_mean=delta),
    )


def promotion_prior(epoch: Epoch) -> Prior:
    """The prior of the bets against "worse than the margin": planned for a student equal to its teacher."""
    return _prior(-epoch.delta, 0.0, epoch.sigma0)


def futility_prior(epoch: Epoch) -> Prior:
    """The prior of the bets against "not worse than the margin": planned for a student at twice the margin."""
    return _prior(epoch.delta, min(2.0 * epoch.delta, (1.0 + epoch.delta) / 2), epoch.sigma0)


@lru_cache(maxsize=256)
def _prior(null_mean: float, mean0: float, sigma0: float) -> Prior:
    return planning_prior(null_mean=null_mean, mean0=mean0, sigma0=sigma0)


def mean_d(evidence: Evidence) -> float | None:
    """Mean of the plain scores; None without one."""
    weight = sum(w * count for (_, w, _), count in evidence.counts.items())
    total = sum(w * d * count for (_, w, d), count in evidence.counts.items())
    return None if weight == 0 else total / (weight * LATTICE)
