"""A/A: what is seen when a model is compared with itself. A plumbing alarm, two-sided; it says nothing of a judge's bias.

Both arms are the same model, so the mean of d is 0 in each direction whatever the judge thinks, if the judge is blind and
the order is drawn fairly. A mean that is not 0 is a leak of identity, a broken join, or arms that are not asked the same.
What the answer shown first has over the second is said beside it, and is no fault of the plumbing: the order is drawn anew
for each pair, so that a judge who minds it costs pairs and moves no mean.
Pure: judged pairs in, findings out. Directions are populations of their own, never averaged.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.types import Direction
from scoring.gates.order import TOLERANCE
from scoring.stats.bets import planning_prior
from scoring.stats.eprocess import lower_confidence, upper_confidence
from scoring.stats.lattice import FULL_WEIGHT, floor_milli
from tutelage.contracts.pairs import Judgement, Pair

ALPHA = 0.01
"""Of a false alarm about means, over both directions and both sides, however often one looks."""
PAIRS = 500
"""Fewer say little."""
UNSURE = 0.1
"""A mean that could still be this far off is not known well enough to say that all is well."""
_PRIOR = planning_prior(null_mean=-0.05, sigma0=0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A mean of `pairs`: what it is of lies between `lower` and `upper`, at all times at once."""

    pairs: int
    mean: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plumbing:
    """What came of `asked` requests. `excluded` by the join's reasons, `missing` by class; `lost` left no trace at all.

    `directions` are means of d. `order` is what the answer shown first has over the second; None where no judge was asked.
    """

    asked: int
    judged: int
    lost: int
    excluded: Mapping[str, int]
    missing: Mapping[str, int]
    directions: Mapping[str, Seen]
    order: Seen | None
    order_alarm: str | None
    alarms: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """FAIL with an alarm, PASS where every mean is known well enough, else INCONCLUSIVE."""
        if self.alarms:
            return "FAIL"
        known = self.directions and all(max(-seen.lower, seen.upper) <= UNSURE for seen in self.directions.values())
        return "PASS" if known else "INCONCLUSIVE"


def plumbing(asked: int, judged: Sequence[tuple[Pair, Judgement]], excluded: Mapping[str, int]) -> Plumbing:
    """The findings. `excluded` are those of the requests that became no judged pair, by reason."""
    by_direction = {direction: _plain(judged, direction) for direction in Direction}
    directions = {
        direction.value: _seen(found, ALPHA / len(Direction)) for direction, found in by_direction.items() if found
    }
    missing = Counter(
        judgement.missing or "no_d" for _, judgement in judged if judgement.d is None or judgement.missing
    )
    order = [j.first_minus_second for _, j in judged if j.first_minus_second is not None]
    order_seen = _seen(order, ALPHA) if order else None
    lost = asked - len(judged) - sum(excluded.values())
    return Plumbing(
        asked=asked,
        judged=len(judged),
        lost=lost,
        excluded=dict(excluded),
        missing=dict(missing),
        directions=directions,
        order=order_seen,
        order_alarm=None if order_seen is None else _minded(order_seen),
        alarms=(*_uneven(directions), *_unaccounted(lost, excluded)),
    )


def _plain(judged: Sequence[tuple[Pair, Judgement]], direction: Direction) -> list[float]:
    return [j.d for pair, j in judged if pair.direction is direction and j.d is not None and j.missing is None]


def _seen(found: Sequence[float], alpha: float) -> Seen:
    """`alpha` is of both sides together."""
    up = Counter((FULL_WEIGHT, floor_milli(d)) for d in found)
    down = Counter((FULL_WEIGHT, floor_milli(-d)) for d in found)
    return Seen(
        pairs=len(found),
        mean=sum(found) / len(found),
        lower=lower_confidence(up, _PRIOR, alpha=alpha / 2),
        upper=upper_confidence(down, _PRIOR, alpha=alpha / 2),
    )


def _uneven(directions: Mapping[str, Seen]) -> list[str]:
    return [
        f"{name}: the mean of d is {seen.mean:+.3f}, between {seen.lower:+.3f} and {seen.upper:+.3f}; of a model against "
        "itself it is 0. Who is who leaks to the judge, or the arms are not asked the same"
        for name, seen in directions.items()
        if seen.lower > 0.0 or seen.upper < 0.0
    ]


def _minded(order: Seen) -> str | None:
    """The alarm about a judge who minds the order, or None. A place worth less than the tolerance is none, as in the gate."""
    if order.lower <= TOLERANCE and order.upper >= -TOLERANCE:
        return None
    return (
        f"the judge minds the order: the answer shown first has {order.mean:+.3f} over the second, between "
        f"{order.lower:+.3f} and {order.upper:+.3f}, where ±{TOLERANCE:g} is none. Scores are noisier for it: ask more pairs "
        "in both orders"
    )


def _unaccounted(lost: int, excluded: Mapping[str, int]) -> list[str]:
    alarms = [f"{lost} requests became neither a judged pair nor a counted reason"] if lost > 0 else []
    if excluded.get("parity", 0):
        alarms.append(f"{excluded['parity']} pairs were not asked the same of both arms")
    return alarms
