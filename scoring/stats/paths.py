"""Many runs at once, a look after every pair: how error rates, pair counts and delays are measured.

Owns   vectorised first-passage times of the e-process and of the detector.
Knows not  laws of d: a `Draw` gives the next pairs, so change points and clustered streams are the caller's.

Capital is held in linear scale, shape (runs, bets). What falls below 1e-200 is set to zero: that can only lower E, and
keeps the arithmetic out of the slow subnormal range. A run that could not pass within a block even if the pairs that speak
for it came first is not looked at within it: no look is lost by that, and at the boundary most runs are such.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scoring.stats import shiryaev_roberts
from scoring.stats.bets import FloatArray, Prior, stakes
from scoring.stats.lattice import LATTICE

IntArray = NDArray[np.int64]

BLOCK = 64
_NEGLIGIBLE = 1e-200


class Draw(Protocol):
    """Gives d in thousandths, shape (len(runs), pairs), for the pairs at `start` to `start + pairs − 1` (from 0)."""

    def __call__(self, runs: IntArray, start: int, pairs: int) -> IntArray: ...


def first_passages(draw: Draw, *, runs: int, horizon: int, prior: Prior, alphas: tuple[float, ...]) -> IntArray:
    """Pairs until E first reaches 1/α, shape (runs, len(alphas)); 0 where it has not within `horizon` pairs.

    Looks after every pair. A run is dropped once it has passed the smallest α, so draws are made for live runs only.

    >>> from scoring.stats.bets import planning_prior
    >>> ties = lambda runs, start, pairs: np.zeros((len(runs), pairs), dtype=np.int64)
    >>> first_passages(ties, runs=1, horizon=100, prior=planning_prior(null_mean=-0.05, sigma0=0.0), alphas=(0.05, 1e-9))
    array([[60,  0]])
    """
    table = 1.0 + np.multiply.outer(
        np.arange(-LATTICE, LATTICE + 1) / LATTICE - prior.null_mean, stakes(prior.null_mean)
    )
    levels = 1.0 / np.asarray(alphas)
    passed = np.zeros((runs, len(alphas)), dtype=np.int64)
    alive = np.arange(runs)
    capital = np.ones((runs, table.shape[1]))
    for start in range(0, horizon, BLOCK):
        d_milli = draw(alive, start, min(BLOCK, horizon - start))
        growth, reach = _over_block(d_milli, table)
        near = (capital * reach) @ prior.weights >= levels.min() * (1.0 - 1e-9)
        rows, walked = alive[near], capital[near]
        for offset, column in enumerate(d_milli[near].T):
            walked *= table[column + LATTICE]
            _mark(passed, rows, walked @ prior.weights, levels, start + offset + 1)
        capital *= growth
        capital[near] = walked
        capital[capital < _NEGLIGIBLE] = 0.0
        going = (passed[alive] == 0).any(axis=1)
        alive, capital = alive[going], capital[going]
        if alive.size == 0:
            break
    return passed


def _over_block(d_milli: IntArray, table: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each bet's growth over a block, and the most that it can have grown within it; shape (runs, bets) each."""
    rows = d_milli + LATTICE
    seen = np.flatnonzero(np.bincount(rows.ravel(), minlength=len(table)))
    place = np.zeros(len(table), dtype=np.int64)
    place[seen] = np.arange(len(seen))
    runs, width = len(rows), len(seen)
    cells = place[rows] + width * np.arange(runs)[:, None]
    counts = np.bincount(cells.ravel(), minlength=runs * width).reshape(runs, width)
    logs = np.log(table[seen])
    return np.exp(counts @ logs), np.exp(counts @ np.maximum(logs, 0.0))


def alarm_times(
    draw: Draw, *, runs: int, horizon: int, delta_r: float, thresholds: tuple[float, ...], watched_from: int = 0
) -> IntArray:
    """Pairs until the detector first reaches each A, shape (runs, len(thresholds)); 0 where it has not.

    `watched_from`: alarms of the first so many pairs do not count, but the state lives through them; times count from
    there. So the delay after a change at that pair is measured from the detector's steady state.

    >>> worse = lambda runs, start, pairs: np.full((len(runs), pairs), -250, dtype=np.int64)
    >>> alarm_times(worse, runs=1, horizon=100, delta_r=0.05, thresholds=(1_000.0, 10_000.0))
    array([[40, 55]])
    """
    steps = np.arange(-LATTICE, LATTICE + 1)
    table = 1.0 - np.multiply.outer(steps / LATTICE + delta_r, shiryaev_roberts.stakes(delta_r))
    weights = shiryaev_roberts.weights(delta_r)
    levels = np.asarray(thresholds, dtype=np.float64)
    passed = np.zeros((runs, len(thresholds)), dtype=np.int64)
    alive = np.arange(runs)
    state = np.zeros((runs, table.shape[1]))
    for start in range(0, watched_from + horizon, BLOCK):
        d_milli = draw(alive, start, min(BLOCK, watched_from + horizon - start))
        for offset in range(d_milli.shape[1]):
            state += 1.0
            state *= table[d_milli[:, offset] + LATTICE]
            if start + offset >= watched_from:
                _mark(passed, alive, state @ weights, levels, start + offset + 1 - watched_from)
        np.minimum(state, shiryaev_roberts.CEILING, out=state)
        going = (passed[alive] == 0).any(axis=1)
        alive, state = alive[going], state[going]
        if alive.size == 0:
            break
    return passed


def _mark(passed: IntArray, alive: IntArray, statistic: FloatArray, levels: FloatArray, pairs: int) -> None:
    if statistic.size == 0 or statistic.max() < levels.min():
        return
    reached = statistic[:, None] >= levels[None, :]
    rows = passed[alive]
    passed[alive] = np.where((rows == 0) & reached, pairs, rows)
