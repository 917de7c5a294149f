"""How long a rollout takes and what it costs, before the first pair: rung by rung, and whether it can be measured at all.

Owns   `Outlook` (what is known beforehand), `Forecast` (pairs, days and dollars per rung), what is refused and why, the
       shorter ladder that is proposed instead.
Knows not  configuration, stores, clocks. Everything is for a student equal to its teacher; a worse one takes longer, by
       the table that `odds` gives.

A rung is left upwards when three things have come together: forward pairs enough for log(1/α_{k+1}) since the start, a
fresh key within one block (forward pairs in shadow, reverse pairs on a live rung), and the dwell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scoring.gates.state import FRESH_ALPHA, FRESH_BLOCK
from scoring.simulate.plan import Plan
from scoring.simulate.runs import run_all
from scoring.stats.bets import planning_prior
from scoring.stats.ladder import attempt_alpha, rung_alphas
from scoring.stats.laws import tied
from scoring.stats.paths import first_passages
from scoring.stats.planning import BAND, kl_inf, pairs_needed

DAY_S = 86_400.0
FRESH_RUNS = 2_000
SELDOM = 0.10
"""A fresh key that passes in fewer blocks than this is refused: the rollout would wait for luck."""

MEANS = (0.02, 0.0, -0.01, -0.02, -0.03, -0.04, -0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known before the first pair. Rates are shares of units, 0 to 1; dollars are per call, None: unknown.

    `units_per_day` counts conversations, or requests where the unit is the request; `turns` are requests per unit.
    `judged` is the part of the pairs that is scored. `slices` are shares of slices that must pass by themselves, at
    `slice_margin`. `days_per_rung` is how long one rung may take; `weight` what a slice that climbs apart has of `alpha`.
    """

    stages_bp: tuple[int, ...]
    margin: float
    alpha: float
    sigma0: float
    units_per_day: float
    turns: float = 1.0
    attempt: int = 1
    weight: float = 1.0
    forward_rate: float = 1.0
    reverse_pairs_per_day: float = 500.0
    judged: float = 1.0
    dwell_s: float = 3_600.0
    slices: tuple[float, ...] = ()
    slice_margin: float = 0.10
    days_per_rung: float = 7.0
    teacher_usd: float | None = None
    student_usd: float | None = None
    judge_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RungForecast:
    """What it takes to leave the rung at `share_bp` upwards. `days` is in expectation; `dollars` None where a price is unknown.

    `held_by` names what takes the longest: evidence, fresh key or dwell.
    """

    share_bp: int
    alpha_next: float
    forward_pairs: float
    fresh_pairs: float
    forward_per_day: float
    reverse_per_day: float
    days: float
    held_by: str
    judge_usd: float | None
    shadow_usd: float | None
    reverse_shadow_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The ladder, rung by rung. `refusals` say why it cannot be climbed; `proposed_bp` is a ladder that can, or None."""

    rungs: tuple[RungForecast, ...]
    refusals: tuple[str, ...]
    proposed_bp: tuple[int, ...] | None

    @property
    def days(self) -> float:
        return sum(rung.days for rung in self.rungs)

    @property
    def pairs(self) -> float:
        """Forward pairs of all rungs together."""
        return sum(rung.forward_pairs for rung in self.rungs)

    @property
    def usd(self) -> float | None:
        """Judge, shadow and reverse shadow of all rungs together; None where one of the prices is unknown."""
        parts = [p for rung in self.rungs for p in (rung.judge_usd, rung.shadow_usd, rung.reverse_shadow_usd)]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def forecast(outlook: Outlook) -> Forecast:
    """The ladder as planned; refused where it cannot be climbed, with a shorter one where that can."""
    key = fresh_key(outlook)
    rungs = _rungs(outlook, key)
    refusals = [*_impossible(outlook, key), *_unmeasurable(outlook, rungs)]
    return Forecast(rungs=rungs, refusals=tuple(refusals), proposed_bp=_shorter(outlook, key) if refusals else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshKey:
    """How often a block passes when the student equals its teacher, and the pairs until one has, in expectation."""

    passes: float
    pairs: float


def fresh_key(outlook: Outlook) -> FreshKey:
    """The fresh key of a student equal to its teacher, by simulation of blocks."""
    law = tied(0.0, outlook.sigma0)
    rng = np.random.default_rng(0)
    passed = first_passages(
        lambda runs, start, pairs: law.sample(rng, (len(runs), pairs)),
        runs=FRESH_RUNS,
        horizon=FRESH_BLOCK,
        prior=planning_prior(null_mean=-outlook.margin, sigma0=outlook.sigma0),
        alphas=(FRESH_ALPHA,),
    )[:, 0]
    rate = float((passed > 0).mean())
    if rate == 0.0:
        return FreshKey(passes=0.0, pairs=math.inf)
    return FreshKey(passes=rate, pairs=float(passed[passed > 0].mean()) + FRESH_BLOCK * (1.0 / rate - 1.0))


def _rungs(outlook: Outlook, key: FreshKey) -> tuple[RungForecast, ...]:
    price = outlook.weight * attempt_alpha(outlook.alpha, outlook.attempt) / outlook.alpha
    alphas = [price * alpha for alpha in rung_alphas(outlook.stages_bp[1:], alpha=outlook.alpha)]
    rungs, seen = [], 0.0
    for share_bp, alpha in zip(outlook.stages_bp, alphas, strict=False):
        rung = _rung(outlook, share_bp, alpha, _forward_pairs(outlook, alpha) - seen, key)
        rungs.append(rung)
        seen += max(0.0, rung.forward_per_day * rung.days)
    return tuple(rungs)


def _forward_pairs(outlook: Outlook, alpha: float) -> float:
    """Forward pairs in all until every required cell has passed at `alpha`: a slice sees its share of them."""
    law = tied(0.0, outlook.sigma0).as_histogram()
    cells = [(1.0, outlook.margin), *((share, outlook.slice_margin) for share in outlook.slices)]
    return max(pairs_needed(alpha, growth=kl_inf(law, null_mean=-margin)) / share for share, margin in cells)


def _rung(outlook: Outlook, share_bp: int, alpha: float, missing_pairs: float, key: FreshKey) -> RungForecast:
    share = share_bp / 10_000
    forward = outlook.units_per_day * (1.0 - share) * outlook.forward_rate * outlook.judged
    student_units = outlook.units_per_day * share
    bought = min(student_units, outlook.reverse_pairs_per_day)
    reverse = bought * outlook.judged
    waits = {
        "evidence": max(0.0, missing_pairs) / forward if forward > 0.0 else math.inf,
        "fresh key": _days(key.pairs, reverse if share_bp > 0 else forward),
        "dwell": outlook.dwell_s / DAY_S,
    }
    held_by = max(waits, key=lambda name: waits[name])
    days = waits[held_by]
    shadowed = outlook.units_per_day * (1.0 - share) * outlook.forward_rate
    return RungForecast(
        share_bp=share_bp,
        alpha_next=alpha,
        forward_pairs=max(0.0, missing_pairs),
        fresh_pairs=key.pairs,
        forward_per_day=forward,
        reverse_per_day=reverse,
        days=days,
        held_by=held_by,
        judge_usd=_cost(outlook.judge_usd, (forward + reverse) * days),
        shadow_usd=_cost(outlook.student_usd, shadowed * outlook.turns * days),
        reverse_shadow_usd=_cost(outlook.teacher_usd, bought * outlook.turns * days),
    )


def _impossible(outlook: Outlook, key: FreshKey) -> list[str]:
    """Why no amount of traffic would do."""
    if key.passes >= SELDOM:
        return []
    shown = f"{FRESH_BLOCK} pairs to show {1 / FRESH_ALPHA:g} : 1 and does so in {key.passes:.1%} of its blocks"
    at = f"at margin {outlook.margin:g} and sigma0 {outlook.sigma0:g}"
    return [f"the fresh key has {shown} {at}: widen the margin, or score with less noise"]


def _unmeasurable(outlook: Outlook, rungs: tuple[RungForecast, ...]) -> list[str]:
    return [
        f"the rung at {rung.share_bp / 100:g} % takes {_in_days(rung.days)} ({rung.held_by}: "
        f"{rung.reverse_per_day:,.0f} reverse and {rung.forward_per_day:,.0f} forward pairs a day), "
        f"more than {outlook.days_per_rung:g} days"
        for rung in rungs
        if rung.days > outlook.days_per_rung
    ]


def _shorter(outlook: Outlook, key: FreshKey) -> tuple[int, ...] | None:
    """The ladder without the live rungs that cannot be measured; None where that does not help either."""
    if key.passes < SELDOM:
        return None
    slow = {rung.share_bp for rung in _rungs(outlook, key) if rung.days > outlook.days_per_rung and rung.share_bp > 0}
    stages = tuple(share for share in outlook.stages_bp if share not in slow)
    if len(stages) < 2 or stages == outlook.stages_bp:
        return None
    shorter = replace(outlook, stages_bp=stages)
    return None if _unmeasurable(shorter, _rungs(shorter, key)) else stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """Of students whose true mean is `mean`: how many reach the last rung, and how many stand there in the end."""

    mean: float
    reach: float
    stay: float
    pairs: float | None


def odds(
    outlook: Outlook, *, runs: int, pairs: int, seed: int, progress: Callable[[int], None] = lambda done: None
) -> tuple[Odds, ...]:
    """P(stays promoted) against the true difference, over `pairs` pairs in one stream, through the real gate."""
    found = []
    for place, mean in enumerate(MEANS, 1):
        plan = Plan(
            law=tied(mean, outlook.sigma0),
            horizon=pairs,
            stages_bp=outlook.stages_bp,
            delta=outlook.margin,
            delta_r=outlook.margin,
            alpha=attempt_alpha(outlook.alpha, outlook.attempt),
            sigma0=outlook.sigma0,
            weight=outlook.weight,
        )
        stories = run_all(plan, runs=runs, seed=seed)
        top = len(outlook.stages_bp) - 1
        arrived = [story.reached[top] for story in stories if top in story.reached]
        stay = sum(story.rollout.rung == top for story in stories) / runs
        reach = len(arrived) / runs
        found.append(Odds(mean=mean, reach=reach, stay=stay, pairs=float(np.mean(arrived)) if arrived else None))
        progress(place)
    return tuple(found)


def band(rung: RungForecast) -> tuple[float, float]:
    """Days of a rung, four times in five, where evidence is what takes the longest."""
    return (BAND[0] * rung.days, BAND[1] * rung.days) if rung.held_by == "evidence" else (rung.days, rung.days)


def _days(pairs: float, per_day: float) -> float:
    return pairs / per_day if per_day > 0.0 else math.inf


def _cost(usd: float | None, calls: float) -> float | None:
    return None if usd is None or not math.isfinite(calls) else usd * calls


def _in_days(days: float) -> str:
    return "for ever" if math.isinf(days) else f"{days:,.1f} days"
