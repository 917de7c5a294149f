"""Captured pairs as the material of a simulation: what would this policy have done?

Owns   the way from judged pairs to units, in the order in which they came, and to one law per direction.
Knows not  the policy. Two answers are possible: the units in their order as one stream (what would have happened then), and
whole rollouts drawn from the laws, in which the policy decides who serves (what would happen with such a student).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from router.types import Direction
from scoring.rubrics.scorer import NO_REFERENCE
from scoring.stats.lattice import LATTICE, floor_milli
from scoring.stats.laws import Law
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.store.base import PairStore

FEWEST = 30
"""Fewer units than this are no law."""

_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """Units of a route, oldest first: direction and d in thousandths, as promotion reads them."""

    units: tuple[tuple[Direction, int], ...]

    def law(self, direction: Direction) -> Law | None:
        """The empirical law of one direction; None where there are too few units."""
        d_milli = [d for found, d in self.units if found is direction]
        if len(d_milli) < FEWEST:
            return None
        values, counts = np.unique(np.asarray(d_milli, dtype=np.int64), return_counts=True)
        return Law(name="captured", d_milli=values, probability=counts / counts.sum())


def captured(store: PairStore, route: str, limit: int) -> Captured:
    """The units behind the newest `limit` judged pairs. Raises ConfigurationError where they are too few to say anything."""
    pairs = _newest(store, route, limit)
    found = units_of((pair, store.judgements(pair.id)) for pair in reversed(pairs))
    if sum(direction is Direction.FORWARD for direction, _ in found) < FEWEST:
        raise ConfigurationError(
            f"route {route!r} has fewer than {FEWEST} judged forward units: nothing to simulate from yet"
        )
    return Captured(units=found)


def units_of(judged: Iterable[tuple[Pair, Sequence[Judgement]]]) -> tuple[tuple[Direction, int], ...]:
    """One d per unit and direction, the mean over its turns; in the order of their first turns. What no judgement says
    anything of is left out; what has no score is read as −1."""
    turns: dict[tuple[str, Direction], list[float]] = {}
    for pair, judgements in judged:
        if pair.excluded is None and judgements and judgements[-1].failure != NO_REFERENCE:
            d = judgements[-1].d
            turns.setdefault((pair.unit_id, pair.direction), []).append(-1.0 if d is None else d)
    return tuple(
        (direction, max(-LATTICE, floor_milli(sum(values) / len(values)))) for (_, direction), values in turns.items()
    )


def _newest(store: PairStore, route: str, limit: int) -> list[Pair]:
    """Newest first, page by page."""
    found: list[Pair] = []
    before: float | None = None
    while len(found) < limit:
        page = store.pairs(route, min(_PAGE, limit - len(found)), before)
        if not page:
            break
        found += page
        before = page[-1].admitted_at
    return found
