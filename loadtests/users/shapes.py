"""How many users there are at each second of a load test. Pure.

Shapes are given for a duration and stretch with it: `ramp` climbs over two thirds and stays; `spike` jumps to the peak for the
middle third and back; `soak` stays at half the peak, for leaks and slow drifts.
"""

from collections.abc import Mapping
from typing import Protocol

PEAK = 100
QUIET = 10
"""Users before and after a spike."""


class Shape(Protocol):
    """Users wanted at `second` of a test of `duration_s` seconds."""

    def __call__(self, second: float, duration_s: float) -> int: ...


def ramp(second: float, duration_s: float) -> int:
    return min(PEAK, max(1, round(PEAK * second / (duration_s * 2 / 3))))


def spike(second: float, duration_s: float) -> int:
    return PEAK if duration_s / 3 <= second < duration_s * 2 / 3 else QUIET


def soak(second: float, duration_s: float) -> int:
    return PEAK // 2


SHAPES: Mapping[str, Shape] = {"ramp": ramp, "spike": spike, "soak": soak}


def users_at(shape: str, second: float, duration_s: float) -> int | None:
    """None when the test is over. Raises KeyError for a shape that is none of SHAPES."""
    return None if second >= duration_s else SHAPES[shape](second, duration_s)
