"""The published figures, all of them, as one table.

Owns   the list of figures, and how they are spread over two processes.
Knows not  what they measure: see `scoring.simulate.figures`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from scoring.simulate.figures import (
    conversations,
    efficiency,
    engineering,
    gate,
    peers,
    rollback,
    slices,
    trouble,
    validity,
)
from scoring.simulate.figures.scale import Figures, Scale
from scoring.simulate.rows import Figure

PARTS: tuple[tuple[str, Figures], ...] = (
    ("1 validity", validity.FIGURES),
    ("2 and 3 efficiency", efficiency.FIGURES),
    ("4 beside others", peers.FIGURES),
    ("5 rollback", {**rollback.FIGURES, **conversations.FIGURES}),
    ("6 whole gate", gate.FIGURES),
    ("7 slices", slices.FIGURES),
    ("8 trouble", trouble.FIGURES),
    ("9 engineering", engineering.FIGURES),
)
WORKERS = 2


def names() -> tuple[str, ...]:
    """Every figure, in the order of the table."""
    return tuple(name for _, figures in PARTS for name in figures)


def validation(
    scale: Scale, *, only: Sequence[str] = (), progress: Callable[[int], None] = lambda done: None
) -> dict[str, tuple[Figure, ...]]:
    """The figures of each part, all or those named, in the order of the table. `progress` hears how many are done."""
    chosen = [name for name in names() if not only or name in only]
    found: dict[str, tuple[Figure, ...]] = {}
    # Spawned: the caller may have threads (a progress bar), which a fork would not carry over.
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(measured, name, scale): name for name in chosen}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            progress(len(found))
    parts = {part: [name for name in figures if name in found] for part, figures in PARTS}
    return {
        part: tuple(replace(figure, name=f"{name}: {figure.name}") for name in present for figure in found[name])
        for part, present in parts.items()
        if present
    }


def measured(name: str, scale: Scale) -> tuple[Figure, ...]:
    """One figure's rows."""
    figures = {key: measure for _, part in PARTS for key, measure in part.items()}
    return figures[name](scale)
