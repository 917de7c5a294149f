"""Six slices that must all pass: what sampling the unpassed ones saves, and the whole ladder with them.

A slice passes after T_i pairs of its own. Sampled in proportion to the traffic, six of them take max T_i / share_i pairs;
uniformly, 6 · max T_i; uniformly over those that have not passed yet, Σ T_i. The sampling is predictable, so each
slice's e-process stays what it was.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from msgspec import structs

from router.types import FULL_BP, Direction
from scoring.gates.adaptive import plan
from scoring.gates.facts import ALL_WELL
from scoring.gates.required import required
from scoring.gates.state import fold_all, initial
from scoring.gates.verdict import Verdict
from scoring.gates.view import look
from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.plan import Plan, epoch_of, rollout_of
from scoring.simulate.rows import Figure, mean_row, reported_mean, reported_rate
from scoring.simulate.streams import generator, steady
from scoring.simulate.walk import unit_of, walk
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.lattice import weight_milli
from scoring.stats.paths import IntArray, first_passages
from tutelage.contracts.decisions import GateRules

MEANS = (0.0, 0.0, 0.02, 0.0, -0.02, 0.0)
SHARES = (0.40, 0.25, 0.15, 0.10, 0.06, 0.04)
ALPHA = 0.05
GOAL = 1_600.0
HORIZON = 60_000
SLICE = "intent"
LADDER_PAIRS = 6_000
BUDGET_BP, WATCH_BP = 2_000, 200
"""What is drawn of all traffic while nothing has passed, and of what has passed."""
EVERY = 20


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


def as_sampled(scale: Scale) -> tuple[Figure, ...]:
    """The same six, sampled by `scoring.gates.adaptive` as control does it and counted by the gate's own cells: named first,
    a block at the full rate, nothing lowered before all units together have passed, and all must stand above the threshold at
    once, where a first passage is enough above. What has passed is watched on top.
    """
    rng = generator(scale.seed, "six slices as sampled")
    gates = GateRules(slices=(SLICE,), slice_margin=MARGIN, slice_share_bp=100, adaptive=SLICE)
    rules = Plan(law=laws.rubric5(0.0), gates=gates, stages_bp=(0, 9_000), alpha=ALPHA)
    runs = np.array([_until_all_pass(rules, rng) for _ in range(max(10, scale.streams // 10))])
    return (
        reported_mean("pairs at the full rate", runs[:, 0]),
        reported_mean("pairs that watch what has passed, at a tenth of it", runs[:, 1]),
    )


def _until_all_pass(rules: Plan, rng: np.random.Generator) -> tuple[int, int]:
    """Pairs until every required cell has passed, at the full and at the watching rate; rates follow the evidence after
    every `EVERY` pairs."""
    epoch, rollout = epoch_of(rules), rollout_of(rules)
    state, scores, watching = initial(rollout, epoch), [laws.rubric5(mean) for mean in MEANS], 0
    for at in range(0, HORIZON, EVERY):
        view = look(state, rollout, epoch, ALL_WELL, 0.0)
        if state.named and all(finding.verdict is Verdict.PASS for finding in required(view)):
            return at - watching, watching
        rates = plan(view, budget_bp=BUDGET_BP, watch_bp=WATCH_BP)
        watched = [_name(value) in rates.watched for value in range(len(SHARES))]
        drawn_bp = np.where(watched, WATCH_BP, rates.forward_bp)
        mass = np.array(SHARES) * drawn_bp
        units = []
        for n, value in enumerate(rng.choice(len(SHARES), EVERY, p=mass / mass.sum()), at + 1):
            d_milli = int(scores[value].sample(rng, 1)[0])
            unit = unit_of(n, Direction.FORWARD, d_milli, rollout, {SLICE: _name(value)})
            weight = weight_milli(drawn_bp[value] / FULL_BP, drawn_bp.min() / FULL_BP)
            units.append(structs.replace(unit, weight_milli=weight))
            watching += watched[value]
        state = fold_all(state, units, rollout, epoch)
    return HORIZON - watching, watching


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
    return {SLICE: _name(values[at - 1])}


def _name(value: int) -> str:
    return f"value-{value}"


FIGURES: Figures = {
    "six slices that must all pass": six_slices,
    "six slices that must all pass, sampled as control does it": as_sampled,
    "whole ladder with six slices": whole_ladder,
}
