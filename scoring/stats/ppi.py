"""Human labels beside a judge: what a judge that is biased cannot spoil, and what it saves all the same.

Owns   the offset test and the inverse-probability-weighted test of H0: E[h] ≤ −δ, h the difference as a person scores it.
Knows not  who labels, how labels are bought, what is promoted.

f is the judge's difference of a pair, known for every pair; h a person's, known for pairs that were drawn for labelling
with a known probability before any content was seen. (Angelopoulos et al. 2023, "Prediction-powered inference"; the
sequential forms here follow from Ville's inequality alone.) The bias of the judge, its noise and its drift cost labels,
never validity. The same f, rounded the same way, must stand in both counts: then what rounding took from f it gives
back, and only the rounding of h (down) is left, which can only hurt a promotion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scoring.stats.bets import GRID, FloatArray, Prior, planning_prior
from scoring.stats.eprocess import log_e, lower_confidence
from scoring.stats.lattice import LATTICE, Histogram

Labelled = Mapping[tuple[int, int, int], int]
"""{(w, f, h, all in thousandths): count} of labelled pairs; w is the pair's own sampling weight, as in `Histogram`."""

JUDGE_SHARE = 0.2
"""The part of α that is spent on the bound of E[f]; the rest is spent on the labels."""

DEFAULT_ETA = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What is fixed before the first label is read: δ, η and both priors.

    A prior re-tuned while labels come in would void the guarantee; its weights belong to the bets' *indices*.
    """

    delta: float
    eta: float
    judged: Prior
    residual: Prior


def planned_anchor(*, delta: float, sigma_judged: float, sigma_residual: float, eta: float = DEFAULT_ETA) -> Anchor:
    """The anchor for a judge whose f has about `sigma_judged`, and h − ηf about `sigma_residual` as standard deviation.

    eta  how much of the judge is believed: 0 ignores it, 1 takes it for the person with noise. The best is near the
         regression slope of h on f; .3 to .5 is robust. It changes the number of labels, never the error rate.

    >>> anchor = planned_anchor(delta=0.05, sigma_judged=0.27, sigma_residual=0.15)
    >>> anchor.eta, int(anchor.residual.weights.argmax())
    (0.5, 15)
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must be in [0, 1], got {eta!r}")
    # The bound of E[f] is read where f has been seen many times: it is planned for a gap of a quarter of the margin.
    return Anchor(
        delta=delta,
        eta=eta,
        judged=planning_prior(null_mean=-delta / 4, sigma0=sigma_judged),
        residual=planning_prior(null_mean=-delta / (1.0 + eta), sigma0=sigma_residual / (1.0 + eta)),
    )


def offset_log_e(judged: Histogram, labelled: Labelled, anchor: Anchor, *, alpha: float) -> float:
    """log of the evidence against E[h] ≤ −δ, to be compared with log(1/α); valid for this `alpha` at any time.

        ℓ    lower confidence sequence of E[f] from ALL judged pairs, at level .2 α      (`eprocess.lower_confidence`)
        y    = h − ηf on labelled pairs, in [−(1+η), 1+η]
        E_y  e-process against E[y] ≤ m, m = −δ − ηℓ:  λ_j = g_j/(1+η+m),  Σ_j ω_j Π (1 + λ_j (y − m))
        promote when E_y ≥ 1/(.8 α); returned is log(.8 E_y)

    E_y falls in m, because (y − m)/(1+η+m) does. So while ℓ ≤ E[f], E_y(m) is at most the e-process at the true mean
    of y under H0, and a wrong promotion costs .2 α (ℓ fails) and .8 α (Ville) together, however often anybody looks.
    Assumes labels drawn uniformly from the judged pairs.

    >>> anchor = planned_anchor(delta=0.05, sigma_judged=0.2, sigma_residual=0.1)
    >>> judged = {(1000, 0): 3000, (1000, 250): 520, (1000, -250): 480}
    >>> labelled = {(1000, 0, 0): 75, (1000, 250, 250): 13, (1000, -250, -250): 12}
    >>> round(offset_log_e(judged, labelled, anchor, alpha=0.05), 2)
    2.97
    """
    bound = lower_confidence(judged, anchor.judged, alpha=JUDGE_SHARE * alpha)
    weights, f, h, counts = _columns(labelled)
    null_mean = -anchor.delta - anchor.eta * bound
    gains = weights * (h - anchor.eta * f - null_mean) / (1.0 + anchor.eta + null_mean)
    return log_e(_capital(gains, counts), anchor.residual) + math.log1p(-JUDGE_SHARE)


def ipw_log_e(
    unlabelled: Histogram, labelled: Labelled, *, delta: float, eta: float, label_probability: float, prior: Prior
) -> float:
    """log E against E[h] ≤ −δ by inverse probability: exact, but its range eats most of what the judge saves.

        x = ηf + (ξ/π_h)(h − ηf) + δ,   λ_j = g_j / (R − δ),   R = η + (1+η)/π_h,   E = Σ_j ω_j Π (1 + λ_j x)

    ξ says whether the pair was labelled, π_h with which probability that was going to happen: E[x | past] = E[h] + δ.
    prior  planned on x/R: null mean −δ/R, standard deviation that of x over R.

    >>> prior = planning_prior(null_mean=-0.05 / 3.5, sigma0=0.05)
    >>> judged, labelled = {(1000, 0): 500}, {(1000, 0, 0): 500}
    >>> round(ipw_log_e(judged, labelled, delta=0.05, eta=0.5, label_probability=0.5, prior=prior), 2)
    14.1
    """
    reach = eta + (1.0 + eta) / label_probability
    weights, f, h, counts = _columns(labelled)
    plain = np.asarray([(*key, count) for key, count in sorted(unlabelled.items())], dtype=np.float64).reshape(-1, 3)
    labelled_gains = weights * (eta * f + (h - eta * f) / label_probability + delta)
    plain_gains = plain[:, 0] / LATTICE * (eta * plain[:, 1] / LATTICE + delta)
    gains = np.concatenate((plain_gains, labelled_gains)) / (reach - delta)
    return log_e(_capital(gains, np.concatenate((plain[:, 2], counts))), prior)


def _capital(gains: FloatArray, counts: FloatArray) -> FloatArray:
    """L_j = Σ count · log(1 + g_j · gain), gains at least −1."""
    total: FloatArray = counts @ np.log1p(np.multiply.outer(gains, GRID))
    return total


def _columns(labelled: Labelled) -> FloatArray:
    """Rows w, f, h, count over the labelled keys in sorted order: equal counts give equal bits."""
    table = np.asarray([(*key, count) for key, count in sorted(labelled.items())], dtype=np.float64).reshape(-1, 4)
    columns: FloatArray = table.T / np.array([LATTICE, LATTICE, LATTICE, 1.0])[:, None]
    return columns
