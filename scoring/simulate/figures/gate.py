"""Whole rollouts through the default gate, sigma0 included: one undirected stream, rubric scores, margin .05, 6,000 pairs."""

from __future__ import annotations

from functools import partial

from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.plan import Plan
from scoring.simulate.report import GOALS, delays, summarise
from scoring.simulate.rows import Figure, rate_row
from scoring.simulate.runs import run_all
from scoring.stats.laws import rubric5

CHANGE_AT = 2_000
DELAYS = {"step-down": (160.0, 290.0), "back in shadow": (335.0, 560.0)}
STALE_GOAL = 0.01
STALE_DWELL = 700
STALE_LEFT = 100


def student(mean: float, scale: Scale) -> tuple[Figure, ...]:
    """A student of true mean `mean`: how often it reaches each rung, after how many pairs, whether it stays."""
    plan = Plan(law=rubric5(mean))
    return summarise(run_all(plan, runs=scale.rollouts, seed=scale.seed), plan).rows


def turns_bad(scale: Scale) -> tuple[Figure, ...]:
    """An equal student that falls to −.10 while it serves: how soon it is taken down and back."""
    plan = Plan(law=rubric5(0.0), after=rubric5(-0.10), change_at=CHANGE_AT, horizon=CHANGE_AT + 2_500)
    return delays(run_all(plan, runs=scale.rollouts, seed=scale.seed), CHANGE_AT, DELAYS)


def stale_evidence(scale: Scale) -> tuple[Figure, ...]:
    """Evidence complete, then a fall to −.10 a hundred pairs before the dwell ends: whether it is promoted anyway."""
    fall = STALE_DWELL - STALE_LEFT
    plan = Plan(
        law=rubric5(0.0),
        after=rubric5(-0.10),
        change_at=fall,
        dwell=float(STALE_DWELL),
        horizon=fall + 1_500,
    )
    hits = sum(bool(story.reached) for story in run_all(plan, runs=scale.rollouts, seed=scale.seed))
    return (rate_row("promoted on stale evidence", hits, scale.rollouts, STALE_GOAL),)


FIGURES: Figures = {
    "whole gate, d = -0.05": partial(student, -MARGIN),
    **{f"whole gate, d = {mean:+.2f}": partial(student, mean) for mean in GOALS},
    "whole gate, 0 to -0.10": turns_bad,
    "whole gate, 0 to -0.10 before the dwell ends": stale_evidence,
}
