"""The first experiment: N inputs answered by both arms, and what the scores say of the student and of the gate to set up.

Owns   `Compared` (one input), `Summary` (all of them), the σ0 and the margin that they suggest.
Knows not  how the arms were asked, or how the result is shown.

The inputs are looked at once, so a t-interval is right here. What is suggested comes from these inputs and is used on
others: that is what a prior may be planned from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.stats import t as student_t

from scoring.simulate.planner import Outlook, fresh_key
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.records import Attempt

CONFIDENCE = 0.95
SAFETY = 1.2
"""σ0 is this much above the estimate: too large costs a few pairs, too small many."""

MARGINS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.10, 0.15)
OFTEN = 0.5
"""A margin is practical where a fresh key passes in every second block."""

FEW = 30
"""Below so many scores a standard deviation is a guess, and none is suggested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One input: both answers, and the judgement; `unjudged` says why there is none."""

    pair: Pair
    judgement: Judgement | None
    unjudged: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm. Means are over the calls where the number is known; None where it is known of none."""

    failures: int
    score: float | None
    median_ms: float | None
    p95_ms: float | None
    usd_per_call: float | None
    priced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All inputs. `low` and `high` are the 95 % interval of the mean of d; None where nothing has a score.

    `suggested_margin` is the smallest of `MARGINS` that a gate can work with at `suggested_sigma0`.
    """

    inputs: int
    scored: int
    ties: int
    mean_d: float | None
    low: float | None
    high: float | None
    sigma: float | None
    suggested_sigma0: float | None
    suggested_margin: float | None
    teacher: ArmSummary
    student: ArmSummary
    failures: dict[str, int]
    judge_usd: float | None


def summarise(compared: Sequence[Compared]) -> Summary:
    """What `compared` says. A judgement without d is counted under `failures`, never as 0."""
    judgements = [one.judgement for one in compared if one.judgement is not None]
    d = [judgement.d for judgement in judgements if judgement.d is not None]
    mean, low, high, sigma = _interval(d)
    planned = None if sigma is None or len(d) < FEW else min(1.0, max(0.01, math.ceil(100 * SAFETY * sigma) / 100))
    judged = [judgement for judgement in judgements if judgement.judge is not None]
    return Summary(
        inputs=len(compared),
        scored=len(d),
        ties=sum(value == 0.0 for value in d),
        mean_d=mean,
        low=low,
        high=high,
        sigma=sigma,
        suggested_sigma0=planned,
        suggested_margin=None if planned is None else practical_margin(planned),
        teacher=_arm([one.pair.teacher for one in compared], [j.teacher_score for j in judgements]),
        student=_arm([one.pair.student for one in compared], [j.student_score for j in judgements]),
        failures=_failures(compared),
        judge_usd=_known_sum([judgement.cost_nusd for judgement in judged]),
    )


def practical_margin(sigma0: float) -> float | None:
    """The smallest margin of `MARGINS` at which a fresh key passes in every second block; None where none does."""
    for margin in MARGINS:
        outlook = Outlook(stages_bp=(0, 9_000), margin=margin, alpha=0.005, sigma0=sigma0, units_per_day=1.0)
        if fresh_key(outlook).passes >= OFTEN:
            return margin
    return None


def _interval(d: Sequence[float]) -> tuple[float | None, float | None, float | None, float | None]:
    """Mean, 95 % interval by Student's t, and standard deviation."""
    if len(d) < 2:
        return (d[0] if d else None, None, None, None)
    mean, sigma = fmean(d), float(np.std(d, ddof=1))
    half = float(student_t.ppf((1.0 + CONFIDENCE) / 2, len(d) - 1)) * sigma / math.sqrt(len(d))
    return mean, max(-1.0, mean - half), min(1.0, mean + half), sigma


def _arm(attempts: Sequence[Attempt | None], scores: Sequence[float | None]) -> ArmSummary:
    there = [attempt for attempt in attempts if attempt is not None]
    good = [attempt for attempt in there if attempt.error is None]
    times = [attempt.total_ms for attempt in good]
    costs = [attempt.cost_nusd for attempt in there if attempt.cost_nusd is not None]
    own = [score for score in scores if score is not None]
    return ArmSummary(
        failures=len(there) - len(good),
        score=fmean(own) if own else None,
        median_ms=float(np.quantile(times, 0.5)) if times else None,
        p95_ms=float(np.quantile(times, 0.95)) if times else None,
        usd_per_call=fmean(costs) / 1e9 if costs else None,
        priced=len(costs),
    )


def _failures(compared: Sequence[Compared]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in compared:
        name = one.unjudged or (one.judgement.failure if one.judgement is not None else None)
        if name is not None:
            counted[name] = counted.get(name, 0) + 1
    return counted


def _known_sum(costs_nusd: Sequence[int | None]) -> float | None:
    """The sum; None where one of them is unknown."""
    known = [cost for cost in costs_nusd if cost is not None]
    return sum(known) / 1e9 if len(known) == len(costs_nusd) else None
