"""The ladder: the shares that a rollout climbs, in basis points, rung 0 first.

A ladder starts at 0 (shadow) and rises strictly. Knows nothing of evidence or time: thresholds per rung are mathematics
(`scoring.stats.ladder`), dwell is a setting, moves are events (`router.rollout`).
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from router.types import FULL_BP


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Rungs of a rollout. `shares_bp` starts with 0 and rises strictly; raises ValueError otherwise."""

    shares_bp: tuple[int, ...]

    def __post_init__(self) -> None:
        shares = self.shares_bp
        if len(shares) < 2 or shares[0] != 0:
            raise ValueError(f"stages {shares} must start at 0 % and have at least one more rung")
        if any(high <= low for low, high in pairwise(shares)) or shares[-1] > FULL_BP:
            raise ValueError(f"stages {shares} must rise strictly and end at 100 % or below")

    @property
    def top(self) -> int:
        """Index of the last rung."""
        return len(self.shares_bp) - 1

    def share_bp(self, rung: int) -> int:
        return self.shares_bp[rung]

    def rung_at_or_below(self, share_bp: int) -> int:
        """The highest rung whose share does not exceed `share_bp`."""
        return bisect_right(self.shares_bp, share_bp) - 1
