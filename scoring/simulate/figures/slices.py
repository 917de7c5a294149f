"""Six slices that must all pass: what sampling the unpassed ones saves, and the whole ladder with them.

A slice passes after T_i pairs of its own. Sampled in proportion to the traffic, six of them take max T_i / share_i pairs;
uniformly, 6 · max T_i; uniformly over those that have not passed yet, Σ T_i. The sampling is predictable, so each
slice's e-process stays what it was.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from router.types import Direction
from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.plan import Plan
from scoring.simulate.rows import Figure, mean_row, reported_mean, reported_rate
from scoring.simulate.streams import generator, steady
from scoring.simulate.walk import walk
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.paths import IntArray, first_passages
from tutelage.contracts.records import GateRules

MEANS = (0.0, 0.0, 0.02, 0.0, -0.02, 0.0)
SHARES = (0.40, 0.25, 0.15, 0.10, 0.06, 0.04)
ALPHA = 0.05
GOAL = 1_600.0
HORIZON = 60_000
SLICE = "intent"
LADDER_PAIRS = 6_000


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


def whole_ladder(scale: Scale) -> tuple[Figure, ...]:
    """The default ladder where each slice is a cell of its own at twice the margin; the smallest falls into the rest.

    Sampled in proportion to the traffic, so that requests are pairs; an equal student.
    """
    law, rng = laws.rubric5(0.0), generator(scale.seed, "ladder with slices")
    plan = Plan(law=law, gates=GateRules(slices=(SLICE,), slice_margin=2 * MARGIN), horizon=LADDER_PAIRS)
    top = len(plan.stages_bp) - 1
    arrived = []
    for _ in range(max(3, scale.streams // 50)):
        values = rng.choice(len(SHARES), LADDER_PAIRS, p=SHARES)
        pairs = [(Direction.FORWARD, int(d)) for d in law.sample(rng, LADDER_PAIRS)]
        story, _ = walk(plan, pairs, slices_at=partial(_slices_at, values))
        arrived.append(story.reached.get(top, 0))
    passed = [at for at in arrived if at > 0]
    figures: list[Figure] = [reported_rate(f"on 90 % within {LADDER_PAIRS:,} pairs", len(passed), len(arrived))]
    return (*figures, reported_mean("pairs to 90 %", passed)) if passed else tuple(figures)


def _slices_at(values: IntArray, at: int) -> dict[str, str]:
    return {SLICE: f"value-{values[at - 1]}"}


FIGURES: Figures = {"six slices that must all pass": six_slices, "whole ladder with six slices": whole_ladder}
