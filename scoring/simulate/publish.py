"""The table of figures as docs/STATISTICS.md shows it.

Owns   the Markdown between the two marks of the document. Nothing outside them is touched.
Knows not  how figures are measured or drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from scoring.simulate.figures.scale import Scale
from scoring.simulate.rows import Figure, Reported

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def table(parts: Mapping[str, Sequence[Figure]], scale: Scale) -> str:
    """One table per part; `parts` holds each part's figures in order."""
    blocks = [_scale_words(scale)]
    for part, figures in parts.items():
        lines = [f"### {part}", "", "| figure | measured | goal | |", "|---|---|---|---|"]
        lines += [_line(figure) for figure in figures]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def publish(document: Path, text: str) -> None:
    """Put `text` between the marks of `document`. Raises ValueError where they are not there, once each and in order."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no {BEGIN} … {END} to put the figures between")
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _scale_words(scale: Scale) -> str:
    return (
        f"Seed {scale.seed}. Error rates on {scale.boundary:,} runs with a look after every pair to {scale.looks:,}; pairs and "
        f"delays on {scale.means:,} runs; whole rollouts on {scale.rollouts:,}; rules of others and the human anchor on "
        f"{scale.streams:,} streams. ± is one Monte-Carlo error."
    )


def _line(figure: Figure) -> str:
    error = f" ± {_two_digits(figure.mc_error)}" if figure.mc_error > 0.0 else ""
    measured = f"{_number(figure.value)}{error}"
    if isinstance(figure, Reported):
        return f"| {figure.name} | {measured} | | |"
    limit = "" if figure.limit is None else f"; 99 % lower limit {_number(figure.limit)}"
    return f"| {figure.name} | {measured}{limit} | {figure.sense} {_number(figure.goal)} | {_verdict(figure)} |"


def _verdict(figure: Figure) -> str:
    if isinstance(figure, Reported) or figure.reached:
        return "reached"
    return f"**missed** by {_number(abs(figure.value - figure.goal))}"


def _two_digits(error: float) -> str:
    return f"{error:,.0f}" if error >= 10.0 else f"{error:.2g}"


def _number(value: float) -> str:
    """Four significant digits, without needless ones."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}" if abs(value) >= 1e-4 else f"{value:.1e}"
