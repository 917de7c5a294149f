"""Six slices that must all pass one threshold: what sampling the unpassed ones saves.

A slice passes after T_i pairs of its own. Sampled in proportion to the traffic, six of them take max T_i / share_i pairs;
uniformly, 6 · max T_i; uniformly over those that have not passed yet, Σ T_i. The sampling is predictable, so each
slice's e-process stays what it was.
"""

from __future__ import annotations

import numpy as np

from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.rows import Figure, mean_row, reported_mean
from scoring.simulate.streams import generator, steady
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.paths import first_passages

MEANS = (0.0, 0.0, 0.02, 0.0, -0.02, 0.0)
SHARES = (0.40, 0.25, 0.15, 0.10, 0.06, 0.04)
ALPHA = 0.05
GOAL = 1_600.0
HORIZON = 60_000


def six_slices(scale: Scale) -> tuple[Figure, ...]:
    """Pairs until the last of six slices has passed, under three ways to sample."""
    own = np.stack(
        [
            first_passages(
                steady(law := laws.rubric5(mean), generator(scale.seed, f"slice {place}")),
                runs=scale.means,
                horizon=HORIZON,
                prior=planning_prior(null_mean=-MARGIN, sigma0=law.sigma),
                alphas=(ALPHA,),
            )[:, 0]
            for place, mean in enumerate(MEANS)
        ]
    )
    return (
        mean_row("pairs, uniform over the unpassed", own.sum(axis=0), GOAL),
        reported_mean("pairs, uniform", len(MEANS) * own.max(axis=0)),
        reported_mean("pairs, in proportion to traffic", (own / np.array(SHARES)[:, None]).max(axis=0)),
    )


FIGURES: Figures = {"six slices that must all pass": six_slices}
