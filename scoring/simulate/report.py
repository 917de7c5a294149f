"""What many simulated rollouts say: rates with limits, means with Monte-Carlo errors, against their goals.

Owns   `Summary` (all runs of one plan), the goals of the default gate.
Knows not  how the rollouts came about; `rows` says when a goal is reached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from router.types import FULL_BP
from scoring.simulate.plan import Plan
from scoring.simulate.rows import CONFIDENCE, Row, Sense, mean_row, quantile_row, rate_error, rate_row, row
from scoring.simulate.story import Story
from scoring.stats.binomial import lower_limit
from scoring.stats.ladder import rung_alphas
from tutelage.contracts.records import Json

EXPOSURE_GOAL = 0.005
"""Expected maximum share of a student at the margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What the default gate promises for a true mean: it reaches the last rung, after so many pairs, and stays."""

    reaches: float
    pairs: float
    stays: float


GOALS = {
    0.02: Goal(reaches=1.0, pairs=400, stays=1.0),
    0.0: Goal(reaches=1.0, pairs=720, stays=0.997),
    -0.01: Goal(reaches=1.0, pairs=1_075, stays=0.997),
    -0.02: Goal(reaches=1.0, pairs=1_850, stays=0.99),
    -0.03: Goal(reaches=0.88, pairs=3_560, stays=0.80),
}
"""Rubric scores, margin 0.05, 6,000 pairs, one undirected stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """How many runs came to stand on a rung, and after how many requests on average (NaN where none did)."""

    share_bp: int
    alpha: float
    rate: float
    lower: float
    requests: float
    forward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All runs of one plan."""

    mean: float
    runs: int
    rungs: tuple[Rung, ...]
    rows: tuple[Row, ...]
    at_top: float
    frozen: float
    step_downs: float
    rolled_back: float
    max_share: float

    @property
    def reached(self) -> bool:
        return all(row.reached for row in self.rows)

    def as_json(self) -> Json:
        """JSON-ready; what does not exist is None."""
        plain = asdict(self)
        plain["reached"] = self.reached
        for rung in plain["rungs"]:
            for name in ("requests", "forward"):
                rung[name] = rung[name] if math.isfinite(rung[name]) else None
        return plain


def summarise(stories: Sequence[Story], plan: Plan) -> Summary:
    """Rates per rung; rows for every figure that has a goal."""
    top = len(plan.stages_bp) - 1
    rungs = tuple(_rung(stories, plan, rung) for rung in range(1, top + 1))
    mean = round(plan.law.mean, 6) + 0.0  # no -0.0
    bad = mean <= -plan.delta + 1e-9
    return Summary(
        mean=mean,
        runs=len(stories),
        rungs=rungs,
        rows=_validity(rungs, stories) if bad else _efficiency(stories, plan, mean),
        at_top=_rate([story.rollout.rung == top for story in stories]),
        frozen=_rate([story.frozen for story in stories]),
        step_downs=float(np.mean([len(story.step_downs) for story in stories])),
        rolled_back=_rate([story.rolled_back_at is not None for story in stories]),
        max_share=float(np.mean([story.max_bp for story in stories])) / FULL_BP,
    )


def delays(stories: Sequence[Story], change_at: int, goals: dict[str, tuple[float, float]]) -> tuple[Row, ...]:
    """Pairs from the change to the first step-down and to the roll-back: mean and p90, where the student was live."""
    live = [story for story in stories if _stood_live(story, change_at)]
    waits = {
        "step-down": [_first_after(story.step_downs, change_at) for story in live],
        "back in shadow": [_first_after(_back(story), change_at) for story in live],
    }
    rows: list[Row] = []
    for name, wait in waits.items():
        mean_goal, p90_goal = goals[name]
        rows.append(mean_row(f"{name}, mean pairs", wait, mean_goal))
        rows.append(quantile_row(f"{name}, p90 of pairs", wait, 0.9, p90_goal))
    return tuple(rows)


def _validity(rungs: Sequence[Rung], stories: Sequence[Story]) -> tuple[Row, ...]:
    rows = [
        rate_row(f"reaches {rung.share_bp / 100:g} %", round(rung.rate * len(stories)), len(stories), rung.alpha)
        for rung in rungs
    ]
    exposure = mean_row("expected maximum share", [story.max_bp / FULL_BP for story in stories], EXPOSURE_GOAL)
    return (*rows, exposure)


def _efficiency(stories: Sequence[Story], plan: Plan, mean: float) -> tuple[Row, ...]:
    """Rows for the means of the goal table, for the gate that it is stated for."""
    goal = GOALS.get(mean)
    standard = Plan(law=plan.law, sigma0=plan.sigma0)
    if goal is None or plan.law.name != "rubric5" or plan != standard:
        return ()
    top = len(plan.stages_bp) - 1
    pairs = [story.reached[top] for story in stories if top in story.reached]
    return (
        _high_row(
            "reaches the last rung", _rate([top in story.reached for story in stories]), len(stories), goal.reaches
        ),
        mean_row("mean pairs to the last rung", pairs, goal.pairs) if pairs else _none("mean pairs", goal.pairs),
        _high_row("stands there at the end", _rate([s.rollout.rung == top for s in stories]), len(stories), goal.stays),
    )


def _rung(stories: Sequence[Story], plan: Plan, rung: int) -> Rung:
    arrived = [story.reached[rung] for story in stories if rung in story.reached]
    forward = [story.forward_at[rung] for story in stories if rung in story.reached]
    alphas = [plan.weight * alpha for alpha in rung_alphas(plan.stages_bp[1:], alpha=plan.alpha)]
    return Rung(
        share_bp=plan.stages_bp[rung],
        alpha=alphas[rung - 1],
        rate=len(arrived) / len(stories),
        lower=lower_limit(len(arrived), len(stories), confidence=CONFIDENCE),
        requests=float(np.mean(arrived)) if arrived else math.nan,
        forward=float(np.mean(forward)) if forward else math.nan,
    )


def _high_row(name: str, rate: float, trials: int, goal: float) -> Row:
    # A rate of 1 in n runs still carries an error of 1/n.
    return row(name, rate, goal, error=max(rate_error(rate, trials), 1 / trials), sense=Sense.AT_LEAST)


def _none(name: str, goal: float) -> Row:
    return Row(name=name, value=math.inf, goal=goal, mc_error=0.0, reached=False)


def _stood_live(story: Story, change_at: int) -> bool:
    arrived = [at for at in story.reached.values() if at <= change_at]
    return bool(arrived) and all(at > change_at for at in (*story.step_downs, *_back(story)))


def _back(story: Story) -> list[int]:
    return [] if story.rolled_back_at is None else [story.rolled_back_at]


def _first_after(times: Sequence[int], change_at: int) -> float:
    return next((float(at - change_at) for at in times if at > change_at), math.inf)


def _rate(found: Sequence[bool]) -> float:
    return float(np.mean(found))
