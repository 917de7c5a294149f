"""Streams of d for measuring: seeded, drawn as they are asked for.

Owns   the generators' seeds and the `Draw`s (see `scoring.stats.paths`).
Knows not  what is measured on them.
"""

from __future__ import annotations

import zlib

import numpy as np

from scoring.stats.laws import Law
from scoring.stats.paths import Draw, IntArray


def generator(seed: int, name: str) -> np.random.Generator:
    """The generator of the figure `name`: figures do not share draws, and each can be repeated alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def steady(law: Law, rng: np.random.Generator) -> Draw:
    """Independent pairs of one law."""

    def draw(runs: IntArray, start: int, pairs: int) -> IntArray:
        return law.sample(rng, (len(runs), pairs))

    return draw


def changing(before: Law, after: Law, at: int, rng: np.random.Generator) -> Draw:
    """`before` for the first `at` pairs, `after` from then on."""

    def draw(runs: IntArray, start: int, pairs: int) -> IntArray:
        early = min(max(at - start, 0), pairs)
        shape = (len(runs), early), (len(runs), pairs - early)
        return np.concatenate((before.sample(rng, shape[0]), after.sample(rng, shape[1])), axis=1)

    return draw


def recorded(d_milli: IntArray) -> Draw:
    """Streams that lie there already, shape (runs, pairs): several rules read the same ones."""

    def draw(runs: IntArray, start: int, pairs: int) -> IntArray:
        return d_milli[runs, start : start + pairs]

    return draw
