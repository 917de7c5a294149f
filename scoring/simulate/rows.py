"""One line of a table: a figure, its goal, its Monte-Carlo error, and whether the goal is reached.

Owns   `Row` (a figure with a goal), `Reported` (one without), and the rule by which a goal counts as reached.
Knows not  how figures come about.

A figure is reached when it is within two Monte-Carlo errors of its goal, on the right side or not. The claim that a rate
is at most so much fails only when the rate's 99 % lower limit exceeds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from scoring.stats.binomial import lower_limit

CONFIDENCE = 0.99


class Sense(StrEnum):
    """Which way a goal lies."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure with a goal. `limit` is the 99 % lower limit of a rate that must not exceed its goal."""

    name: str
    value: float
    goal: float
    mc_error: float
    reached: bool
    sense: Sense = Sense.AT_MOST
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One figure that nothing is promised about: it puts the others into proportion."""

    name: str
    value: float
    mc_error: float


Figure = Row | Reported


def row(name: str, value: float, goal: float, *, error: float, sense: Sense = Sense.AT_MOST) -> Row:
    """A figure whose error is known."""
    reached = value <= goal + 2 * error if sense is Sense.AT_MOST else value >= goal - 2 * error
    return Row(name=name, value=value, goal=goal, mc_error=error, reached=reached, sense=sense)


def mean_row(name: str, values: ArrayLike, goal: float, *, scale: float = 1.0, sense: Sense = Sense.AT_MOST) -> Row:
    """The mean of `values`, divided by `scale`, which is known exactly."""
    mean, error = mean_of(values)
    return row(name, mean / scale, goal, error=error / scale, sense=sense)


def rate_row(name: str, hits: int, trials: int, goal: float) -> Row:
    """A rate of something bad: missed when its 99 % lower limit exceeds the goal."""
    rate, limit = hits / trials, lower_limit(hits, trials, confidence=CONFIDENCE)
    return Row(name=name, value=rate, goal=goal, mc_error=rate_error(rate, trials), reached=limit <= goal, limit=limit)


def quantile_row(name: str, values: ArrayLike, quantile: float, goal: float) -> Row:
    """A quantile and its goal."""
    value, error = quantile_of(values, quantile)
    return row(name, value, goal, error=error)


def ratio_row(name: str, above: ArrayLike, below: ArrayLike, goal: float) -> Row:
    """Mean of `above` over mean of `below`, both measured on the same runs (delta method)."""
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    ratio = float(a.mean() / b.mean())
    return row(name, ratio, goal, error=float((a - ratio * b).std() / b.mean()) / math.sqrt(len(a)))


def reported_rate(name: str, hits: int, trials: int) -> Reported:
    """A rate without a goal."""
    rate = hits / trials
    return Reported(name=name, value=rate, mc_error=rate_error(rate, trials))


def reported_mean(name: str, values: ArrayLike) -> Reported:
    """A mean without a goal."""
    mean, error = mean_of(values)
    return Reported(name=name, value=mean, mc_error=error)


def reported_quantile(name: str, values: ArrayLike, quantile: float) -> Reported:
    """A quantile without a goal."""
    value, error = quantile_of(values, quantile)
    return Reported(name=name, value=value, mc_error=error)


def quantile_of(values: ArrayLike, quantile: float) -> tuple[float, float]:
    """A quantile and its error: half the distance between the order statistics one binomial error to either side."""
    found = np.asarray(values, dtype=np.float64)
    off = math.sqrt(quantile * (1.0 - quantile) / len(found))
    low, middle, high = np.quantile(found, [max(0.0, quantile - off), quantile, min(1.0, quantile + off)])
    return float(middle), float(high - low) / 2


def mean_of(values: ArrayLike) -> tuple[float, float]:
    """Mean and its Monte-Carlo error."""
    found = np.asarray(values, dtype=np.float64)
    return float(found.mean()), float(found.std()) / math.sqrt(len(found))


def rate_error(rate: float, trials: int) -> float:
    """Standard error of a rate."""
    return math.sqrt(rate * (1.0 - rate) / trials)


def missed(figures: Sequence[Figure]) -> list[Row]:
    """The rows whose goals are not reached."""
    return [figure for figure in figures if isinstance(figure, Row) and not figure.reached]


def in_words(figure: Figure) -> str:
    """One line: the verdict where there is a goal, the figure, its goal and error."""
    if isinstance(figure, Reported):
        return f"{'':<8} {figure.name}: {figure.value:.4g} (error {figure.mc_error:.2g})"
    verdict = "reached" if figure.reached else "MISSED"
    limit = "" if figure.limit is None else f", 99 % lower limit {figure.limit:.4g}"
    goal = f"goal: {figure.sense} {figure.goal:.4g}"
    return f"{verdict:<8} {figure.name}: {figure.value:.4g} ({goal}, error {figure.mc_error:.2g}{limit})"
