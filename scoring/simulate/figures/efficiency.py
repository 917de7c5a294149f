"""How many pairs a promotion takes, over what no test can undercut and over a t-test of fixed size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from scipy.stats import nct, t

from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.rows import Figure, mean_row
from scoring.simulate.streams import generator, steady
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.laws import Law
from scoring.stats.paths import IntArray, first_passages
from scoring.stats.planning import kl_inf

ALPHAS = (0.05, 0.01)
BOUND_GOALS = {"rubric5": (1.12, 1.10), "passfail": (1.12, 1.10)}
OTHER_GOAL = 1.20
FIXED_GOAL = 0.82
FIXED_FROM_SIGMA = 0.25
POWER = 0.90
HORIZON = 60_000


def pairs_to_promotion(law: Law, scale: Scale) -> IntArray:
    """First passages of a student above the margin, shape (runs, levels); every run passes in the end."""
    rng = generator(scale.seed, f"efficiency {law.name} {law.mean:+.3f}")
    prior = planning_prior(null_mean=-MARGIN, sigma0=law.sigma)
    return first_passages(steady(law, rng), runs=scale.means, horizon=HORIZON, prior=prior, alphas=ALPHAS)


def equal_student(make: Callable[[float], Law], scale: Scale) -> tuple[Figure, ...]:
    """Mean pairs at μ = 0 over the bound log(1/α)/KL_inf, and over the fixed-n paired t-test."""
    law = make(0.0)
    passed = pairs_to_promotion(law, scale)
    growth = kl_inf(law.as_histogram(), null_mean=-MARGIN)
    goals = BOUND_GOALS.get(law.name, (OTHER_GOAL, OTHER_GOAL))
    figures: list[Figure] = []
    for column, (alpha, goal) in enumerate(zip(ALPHAS, goals, strict=True)):
        pairs = passed[:, column]
        bound, fixed = -math.log(alpha) / growth, fixed_pairs(law.sigma, alpha)
        figures.append(mean_row(f"pairs over the bound of {bound:.0f}, alpha {alpha:g}", pairs, goal, scale=bound))
        if law.sigma >= FIXED_FROM_SIGMA:
            name = f"pairs over the fixed-n t-test's {fixed}, alpha {alpha:g}"
            figures.append(mean_row(name, pairs, FIXED_GOAL, scale=fixed))
    return tuple(figures)


def unequal_student(make: Callable[[float], Law], mean: float, scale: Scale) -> tuple[Figure, ...]:
    """Mean pairs of a student a little better or worse than its teacher, over the bound."""
    law = make(mean)
    bound = -math.log(ALPHAS[0]) / kl_inf(law.as_histogram(), null_mean=-MARGIN)
    pairs = pairs_to_promotion(law, scale)[:, 0]
    return (mean_row(f"pairs over the bound of {bound:.0f}, alpha {ALPHAS[0]:g}", pairs, OTHER_GOAL, scale=bound),)


def fixed_pairs(sigma: float, alpha: float) -> int:
    """Pairs with which one one-sided paired t-test at `alpha`, looked at once, has 90 % power at μ = 0."""
    n = 3
    while nct.sf(t.isf(alpha, n - 1), n - 1, MARGIN * math.sqrt(n) / sigma) < POWER:
        n += 1
    return n


_MAKERS = {"rubric5": laws.rubric5, "passfail": laws.passfail, "weighted21": laws.weighted21}

FIGURES: Figures = {
    **{f"{name}, equal student": partial(equal_student, make) for name, make in _MAKERS.items()},
    **{
        f"{name}, d = {mean:+.2f}": partial(unequal_student, make, mean)
        for name, make in _MAKERS.items()
        for mean in (0.02, -0.02)
    },
}
