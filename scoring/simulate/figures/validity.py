"""A student whose true mean is the margin, looked at after every pair: how often it is promoted."""

from __future__ import annotations

from functools import partial

import numpy as np

from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.rows import Figure, rate_row
from scoring.simulate.streams import generator, steady
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.laws import Law
from scoring.stats.paths import first_passages

ALPHAS = (0.05, 0.01)
BATCH = 10_000
"""Runs at a time: the capital of so many stays in a core's cache."""

LAWS: tuple[Law, ...] = (
    laws.rubric5(-MARGIN),
    laws.passfail(-MARGIN),
    laws.weighted21(-MARGIN),
    laws.rare_catastrophe(),
    laws.clustered(-MARGIN),
)


def at_the_margin(law: Law, scale: Scale) -> tuple[Figure, ...]:
    """False promotions on one law, with the prior calibrated to it."""
    rng = generator(scale.seed, f"validity {law.name}")
    prior = planning_prior(null_mean=-MARGIN, sigma0=law.sigma)
    hits = np.zeros(len(ALPHAS), dtype=np.int64)
    for begun in range(0, scale.boundary, BATCH):
        runs = min(BATCH, scale.boundary - begun)
        passed = first_passages(steady(law, rng), runs=runs, horizon=scale.looks, prior=prior, alphas=ALPHAS)
        hits += (passed > 0).sum(axis=0)
    return tuple(
        rate_row(f"false promotion at alpha {alpha:g}", int(count), scale.boundary, alpha)
        for alpha, count in zip(ALPHAS, hits, strict=True)
    )


FIGURES: Figures = {f"{law.name} at the margin": partial(at_the_margin, law) for law in LAWS}
