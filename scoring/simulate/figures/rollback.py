"""The detector: how rarely it cries wolf, how soon it sees harm, and that it does not grow slow with age."""

from __future__ import annotations

from functools import partial

import numpy as np

from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.rows import Figure, Sense, mean_of, mean_row, quantile_row, row
from scoring.simulate.streams import changing, generator, steady
from scoring.stats import laws
from scoring.stats.paths import IntArray, alarm_times

A_DOWN, A_BACK = 1_000.0, 10_000.0
OVERSHOOT = 1.15
FALL = -0.10
DELAYS = {0.05: ((160.0, 290.0), (335.0, 560.0)), 0.03: ((105.0, None), (200.0, None))}
"""δ_r → goals of step-down and roll-back: mean pairs and p90."""

YOUNG, OLD = 500, 10_000
AGE_GOAL = 1.05
_LONG_ENOUGH = 25
"""Run lengths are nearly exponential: one in e^25 is still going after 25 of their means."""


def run_length(delta_r: float, scale: Scale) -> tuple[Figure, ...]:
    """Mean pairs to a false alarm of a student at −δ_r: at least A, and not much more."""
    figures: list[Figure] = []
    for level, runs in ((A_DOWN, scale.means), (A_BACK, max(scale.means // 5, 200))):
        draw = steady(laws.rubric5(-delta_r), generator(scale.seed, f"run length {delta_r} {level}"))
        horizon = int(_LONG_ENOUGH * level)
        times = alarm_times(draw, runs=runs, horizon=horizon, delta_r=delta_r, thresholds=(level,))[:, 0]
        figures += [
            mean_row(f"pairs to a false alarm at {level:g}", times, level, sense=Sense.AT_LEAST),
            mean_row(f"pairs to a false alarm at {level:g}, over it", times, OVERSHOOT, scale=level),
        ]
    return tuple(figures)


def delay(delta_r: float, scale: Scale) -> tuple[Figure, ...]:
    """Pairs from a fall to −.10, after 500 good pairs, to each alarm."""
    times = _delays(delta_r, YOUNG, scale.means, scale)
    figures: list[Figure] = []
    for name, column, (mean, p90) in zip(("step-down", "roll-back"), times.T, DELAYS[delta_r], strict=True):
        figures.append(mean_row(f"mean pairs to {name}", column, mean))
        if p90 is not None:
            figures.append(quantile_row(f"p90 of pairs to {name}", column, 0.9, p90))
    return tuple(figures)


def age(scale: Scale) -> tuple[Figure, ...]:
    """The delay after 10,000 good pairs over that after 500."""
    young = _delays(MARGIN, YOUNG, scale.means, scale)
    old = _delays(MARGIN, OLD, max(scale.means // 4, 200), scale)
    figures = []
    for name, before, after in zip(("step-down", "roll-back"), young.T, old.T, strict=True):
        (slow, slow_error), (quick, quick_error) = mean_of(after), mean_of(before)
        error = slow / quick * float(np.hypot(slow_error / slow, quick_error / quick))
        figures.append(row(f"{name}: delay after {OLD:,} good pairs over {YOUNG}", slow / quick, AGE_GOAL, error=error))
    return tuple(figures)


def _delays(delta_r: float, good_pairs: int, runs: int, scale: Scale) -> IntArray:
    """Delays in pairs, shape (runs, 2): to step-down and to roll-back."""
    rng = generator(scale.seed, f"delay {delta_r} {good_pairs}")
    draw = changing(laws.rubric5(0.0), laws.rubric5(FALL), good_pairs, rng)
    return alarm_times(
        draw, runs=runs, horizon=20_000, delta_r=delta_r, thresholds=(A_DOWN, A_BACK), watched_from=good_pairs
    )


FIGURES: Figures = {
    "detector at its boundary, delta_r 0.05": partial(run_length, 0.05),
    "detector at its boundary, delta_r 0.03": partial(run_length, 0.03),
    "0 to -0.10, delta_r 0.05": partial(delay, 0.05),
    "0 to -0.10, delta_r 0.03": partial(delay, 0.03),
    "age of the detector": age,
}
