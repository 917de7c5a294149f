"""The rules of others, by their published formulas, on the same streams: for comparison, never for a decision.

Owns   first passages of: a t-test looked at after every pair, asymptotic confidence sequences, the best-arm rule with a
       likelihood ratio per arm, and the packages that are installed.
Knows not  laws and goals. Each takes scores of shape (runs, pairs) and answers with pairs to promotion, 0 where never.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from scoring.stats.bets import FloatArray
from scoring.stats.paths import IntArray

BoolArray = NDArray[np.bool_]

FROM_PAIR = 30
"""The t-test and the asymptotic sequence are first read here: their variance is a guess before."""

FROM_PULL = 10
_RUNS_AT_A_TIME = 250


def peeked_t_test(d: FloatArray, *, margin: float, alpha: float) -> IntArray:
    """The one-sided paired t-test at `alpha`, read after every pair. Invalid: it is what "just look daily" does."""
    pairs = np.arange(1, d.shape[1] + 1)
    levels = student_t.isf(alpha, np.maximum(pairs - 1, 1))

    def passes(part: FloatArray) -> BoolArray:
        mean, sd = _running(part)
        reached: BoolArray = (mean + margin) * np.sqrt(pairs) >= levels * sd
        return reached

    return _first(d, passes, FROM_PAIR)


def asymptotic_sequence(d: FloatArray, *, margin: float, alpha: float, tuned_to: int) -> IntArray:
    """One-sided asymptotic confidence sequence above −margin (Waudby-Smith et al. 2024, "Time-uniform central limit
    theory", one-sided form), narrowest at `tuned_to` pairs; its guarantee is asymptotic.

        μ̂_n − σ̂_n √( 2(nρ²+1)/(n²ρ²) · log(1 + √(nρ²+1)/(2α)) ),   ρ² = (−2 log 2α + log(−2 log 2α + 1)) / N*
    """
    n = np.arange(1, d.shape[1] + 1, dtype=np.float64)
    nats = -2.0 * math.log(2.0 * alpha)
    rho2 = (nats + math.log(nats + 1.0)) / tuned_to
    spread = n * rho2 + 1.0
    width = np.sqrt(2.0 * spread / (n * n * rho2) * np.log1p(np.sqrt(spread) / (2.0 * alpha)))

    def passes(part: FloatArray) -> BoolArray:
        mean, sd = _running(part)
        return mean - sd * width > -margin

    return _first(d, passes, FROM_PAIR)


def best_arm(teacher: FloatArray, student: FloatArray, *, margin: float, alpha: float) -> IntArray:
    """ε-best-arm identification, per arm and unpaired (Garivier & Kaufmann 2016), as gateways ship it.

    (μ̂_S − μ̂_T + δ)² / (2 (σ̂_S²/n + σ̂_T²/n))  >  log((1 + log 2n)/α),  from n = 10 answers per arm
    """
    n = np.arange(1, student.shape[1] + 1, dtype=np.float64)
    levels = np.log((1.0 + np.log(2.0 * n)) / alpha)

    def passes(both: FloatArray) -> BoolArray:
        (mean_t, sd_t), (mean_s, sd_s) = _running(both[:, 0]), _running(both[:, 1])
        gap = np.maximum(mean_s - mean_t + margin, 0.0)
        variance = np.maximum(sd_s**2, 1e-12) + np.maximum(sd_t**2, 1e-12)
        return gap**2 * n / (2.0 * variance) > levels

    return _first(np.stack((teacher, student), axis=1), passes, FROM_PULL)


def best_arm_of_pairs(d: FloatArray, *, margin: float, alpha: float, unpaired: float = 1.0) -> IntArray:
    """The same rule read on the differences of pairs: variance σ̂_d²/n · `unpaired`, where 2 is what arms that correlate by
    one half would have apart. While all pairs tie, it is 0, and the rule is satisfied at once.
    """
    n = np.arange(1, d.shape[1] + 1, dtype=np.float64)
    levels = np.log((1.0 + np.log(2.0 * n)) / alpha)

    def passes(part: FloatArray) -> BoolArray:
        mean, sd = _running(part)
        gap = np.maximum(mean + margin, 0.0)
        return gap**2 * n / (2.0 * np.maximum(unpaired * sd**2, 1e-12)) > levels

    return _first(d, passes, FROM_PULL)


def installed(package: str) -> bool:
    """Whether a peer's package can be asked."""
    return find_spec(package) is not None


def ville_betting(d: FloatArray, *, margin: float, alpha: float) -> IntArray:
    """`ville.BettingTest`, one-sided, of the installed package, a stream at a time."""
    ville: Any = importlib.import_module("ville")
    test = ville.BettingTest(m0=-margin, bounds=(-1.0, 1.0), alternative="greater", alpha=alpha)
    return np.array([test.fit(stream).stopping_time() or 0 for stream in d], dtype=np.int64)


def _running(d: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and sample standard deviation of the first 1, 2, … pairs, along the last axis."""
    n = np.arange(1, d.shape[-1] + 1)
    mean = np.cumsum(d, axis=-1) / n
    squares = np.cumsum(d * d, axis=-1) - n * mean * mean
    return mean, np.sqrt(np.maximum(squares, 0.0) / np.maximum(n - 1, 1))


def _first(scores: FloatArray, passes: Callable[[FloatArray], BoolArray], earliest: int) -> IntArray:
    """The first pair from `earliest` on at which `passes` says so, some runs at a time."""
    found = []
    for begun in range(0, len(scores), _RUNS_AT_A_TIME):
        reached = passes(scores[begun : begun + _RUNS_AT_A_TIME])
        reached[:, : earliest - 1] = False
        found.append(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, 0))
    return np.concatenate(found)
