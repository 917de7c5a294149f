"""The tables on the terminal, and as docs/BENCHMARKS.md shows them. Pure but for `publish`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtests.bench.figures import Tables, Unmeasured, added, ratios, spread
from loadtests.bench.goals import DIRECT, NGINX, Row

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_GOALS = ("figure", "must", "stretch", "measured", "reached")


def text(tables: Tables, rows: Sequence[Row], missing: Mapping[str, str]) -> str:
    """Everything, goals last: that is what stands above the prompt when it has scrolled."""
    parts = [_aligned(_table(name, by_system)) for name, by_system in tables.items()]
    parts += [f"not measured: {name}: {reason}" for name, reason in missing.items()]
    return "\n\n".join([*parts, goals(rows)])


def goals(rows: Sequence[Row]) -> str:
    return _aligned(_of_goals(rows))


def publish(document: Path, results: Mapping[str, Any]) -> None:
    """Put a run's results between the marks of `document`. Raises ValueError where the marks are not there."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no {BEGIN} … {END} to put the figures between")
    figures = "\n\n".join(_sections(results))
    document.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}", encoding="utf-8")


def _sections(results: Mapping[str, Any]) -> Iterator[str]:
    machine = results["machine"]
    load = " ".join(f"{value:.1f}" for value in machine["load_average"])
    yield (
        f"{machine['at']}, {machine['cores']} cores, load averages before the run {load}, CPython {machine['python']}, "
        f"{results['took_s']:,} s."
    )
    yield _markdown(_of_goals([Row(**goal) for goal in results["goals"]]))
    for name, by_system in results["tables"].items():
        yield _markdown(_table(name, by_system))
    for name, reason in results["missing"].items():
        yield f"Not measured: {name}: {reason}."


def _of_goals(rows: Sequence[Row]) -> list[Sequence[str]]:
    return [_GOALS, *((row.figure, row.must, row.stretch, row.measured, row.reached) for row in rows)]


def _table(name: str, by_system: Mapping[str, Sequence[float]]) -> list[Sequence[str]]:
    direct = by_system.get(DIRECT)
    nginx = by_system.get(NGINX) if name.startswith("cpu_us") else None
    head = [name, "median (low to high)", *(["added"] if direct else []), *(["× nginx"] if nginx else [])]
    lines: list[Sequence[str]] = [head]
    for system, values in by_system.items():
        line = [system, str(spread(values))]
        if direct:
            line.append("" if system == DIRECT else str(spread(added(values, direct))))
        if nginx:
            line.append(_to(values, nginx))
        lines.append(line)
    return lines


def _to(values: Sequence[float], nginx: Sequence[float]) -> str:
    try:
        return str(ratios(values, nginx))
    except (Unmeasured, ValueError):
        return ""


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rows])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
