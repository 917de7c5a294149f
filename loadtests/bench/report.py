"""The tables on the terminal. Pure: from results to text."""

from collections.abc import Mapping, Sequence

from loadtests.bench.figures import Tables, Unmeasured, added, ratios, spread
from loadtests.bench.goals import DIRECT, NGINX, Row


def text(tables: Tables, rows: Sequence[Row], missing: Mapping[str, str]) -> str:
    """Everything, goals last: that is what stands above the prompt when it has scrolled."""
    parts = [_table(name, by_system) for name, by_system in tables.items()]
    parts += [f"not measured: {name}: {reason}" for name, reason in missing.items()]
    return "\n\n".join([*parts, goals(rows)])


def goals(rows: Sequence[Row]) -> str:
    head = ("figure", "must", "stretch", "measured", "reached")
    return _aligned([head, *((row.figure, row.must, row.stretch, row.measured, row.reached) for row in rows)])


def _table(name: str, by_system: Mapping[str, Sequence[float]]) -> str:
    direct = by_system.get(DIRECT)
    nginx = by_system.get(NGINX) if name.startswith("cpu_us") else None
    head = [name, "median (low to high)", *(["added"] if direct else []), *(["× nginx"] if nginx else [])]
    lines = [head]
    for system, values in by_system.items():
        line = [system, str(spread(values))]
        if direct:
            line.append("" if system == DIRECT else str(spread(added(values, direct))))
        if nginx:
            line.append(_to(values, nginx))
        lines.append(line)
    return _aligned(lines)


def _to(values: Sequence[float], nginx: Sequence[float]) -> str:
    try:
        return str(ratios(values, nginx))
    except (Unmeasured, ValueError):
        return ""


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
