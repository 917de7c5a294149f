"""How much is simulated: a short form for every change, a long one for publication."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scoring.simulate.rows import Figure

MARGIN = 0.05
"""δ, throughout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`boundary` runs to `looks` looks for error rates; `means` runs for pair counts and delays; `rollouts` whole gates.

    `streams` runs where a peer's package is asked one stream at a time or a judge's bound is bisected at every look.
    """

    seed: int
    boundary: int
    looks: int
    means: int
    rollouts: int
    streams: int


SHORT = Scale(seed=1, boundary=1_000, looks=2_000, means=800, rollouts=60, streams=150)
FULL = Scale(seed=1, boundary=50_000, looks=20_000, means=10_000, rollouts=1_000, streams=2_000)

Measured = Callable[[Scale], tuple[Figure, ...]]
Figures = Mapping[str, Measured]
