"""The published figures of the whole gate, as one table.

Owns   which plans are simulated for it. To add a figure: a function here, a line in `FIGURES`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from scoring.simulate.plan import Plan
from scoring.simulate.report import GOALS, Row, delays, rate_row, summarise
from scoring.simulate.runs import run_all
from scoring.stats.laws import rubric5

SIGMA0 = 0.273
"""Standard deviation of the rubric law: a calibrated plan."""

MARGIN = 0.05
CHANGE_AT = 2_000
DELAYS = {"step-down": (160.0, 290.0), "back in shadow": (335.0, 560.0)}
STALE_GOAL = 0.01
STALE_DWELL = 700
STALE_LEFT = 100
WORKERS = 2


def at_the_margin(runs: int, seed: int) -> tuple[Row, ...]:
    """A student whose true mean is the margin: how often it reaches each rung."""
    plan = Plan(law=rubric5(-MARGIN), sigma0=SIGMA0)
    return summarise(run_all(plan, runs=runs, seed=seed), plan).rows


def good_enough(mean: float) -> Callable[[int, int], tuple[Row, ...]]:
    """A student whose true mean is `mean`, above the margin: whether and when it gets to the last rung."""

    def rows(runs: int, seed: int) -> tuple[Row, ...]:
        plan = Plan(law=rubric5(mean), sigma0=SIGMA0)
        return summarise(run_all(plan, runs=runs, seed=seed), plan).rows

    return rows


def turns_bad(runs: int, seed: int) -> tuple[Row, ...]:
    """An equal student that falls to −.10 while it serves: how soon it is taken down and back."""
    plan = Plan(law=rubric5(0.0), after=rubric5(-0.10), change_at=CHANGE_AT, horizon=CHANGE_AT + 2_500, sigma0=SIGMA0)
    return delays(run_all(plan, runs=runs, seed=seed), CHANGE_AT, DELAYS)


def stale_evidence(runs: int, seed: int) -> tuple[Row, ...]:
    """Evidence complete, then a fall to −.10 a hundred pairs before the dwell ends: whether it is promoted anyway."""
    fall = STALE_DWELL - STALE_LEFT
    plan = Plan(
        law=rubric5(0.0),
        after=rubric5(-0.10),
        change_at=fall,
        dwell=float(STALE_DWELL),
        horizon=fall + 1_500,
        sigma0=SIGMA0,
    )
    hits = sum(bool(story.reached) for story in run_all(plan, runs=runs, seed=seed))
    return (rate_row("promoted on stale evidence", hits, runs, STALE_GOAL),)


FIGURES: dict[str, Callable[[int, int], tuple[Row, ...]]] = {
    "d = -0.05": at_the_margin,
    **{f"d = {mean:+.2f}": good_enough(mean) for mean in GOALS},
    "0 to -0.10": turns_bad,
    "0 to -0.10 before the dwell ends": stale_evidence,
}


def validation(*, runs: int, seed: int, progress: Callable[[int], None] = lambda done: None) -> tuple[Row, ...]:
    """All rows, in the order of `FIGURES`; on two processes. `progress` hears how many figures are done."""
    found: dict[str, tuple[Row, ...]] = {}
    # Spawned: the caller may have threads (a progress bar), which a fork would not carry over.
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_rows, name, runs, seed): name for name in FIGURES}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            progress(len(found))
    return tuple(replace(row, name=f"{name}: {row.name}") for name in FIGURES for row in found[name])


def _rows(name: str, runs: int, seed: int) -> tuple[Row, ...]:
    return FIGURES[name](runs, seed)
