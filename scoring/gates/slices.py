"""Which slices are cells of their own, and where a unit's slice is counted.

Owns   the names of slice cells, the naming, the share that a cell must have to be required.
Knows not  what a slice means, thresholds.

Every value of a slice is counted apart until 100 forward units are there; then those with 5 % of the traffic or more
keep their cell, the others are merged into the slice's rest, and so is every value that comes later. No cell is read
before: slices are frozen before the first read. From then on a cell is required while it has 5 % of the traffic. Both
rules read counts, never scores, and a wrong promotion past a required cell needs that cell's own E ≥ 1/α: whichever
cells are required, each is wrong with probability at most α.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scoring.evidence import POOLED, QUALITY, Evidence
from tutelage.contracts.records import Epoch, GateRules, Unit

NAMING_UNITS = 100
VALUES_KEPT = 32
"""Values of one slice that are counted apart while slices are named."""
_REST = "*"

Place = tuple[str, str]
"""(slice, metric): a cell within its epoch and direction."""
Named = Mapping[str, tuple[str, ...]]
"""Values with a cell of their own, by slice; empty until slices are named."""


def label(name: str, value: str) -> str:
    """How the cell of one value is called."""
    return f"{name}:{value}"


def rest(name: str) -> str:
    """How the cell of a slice's other values is called."""
    return label(name, _REST)


def labels_of(unit: Unit, rules: GateRules, named: Named, known: Iterable[Place]) -> tuple[str, ...]:
    """The slice cells that `unit` is counted in: one per slice. `known` are the cells that there are."""
    return tuple(_label_of(unit, name, named, known) for name in rules.slices)


def _label_of(unit: Unit, name: str, named: Named, known: Iterable[Place]) -> str:
    value = unit.slices.get(name)
    if value is None or value == _REST:
        return rest(name)
    if named:
        return label(name, value) if value in named[name] else rest(name)
    own = [where for where, _ in known if where.startswith(label(name, ""))]
    return label(name, value) if label(name, value) in own or len(own) < VALUES_KEPT else rest(name)


def name_values(evidence: Mapping[Place, Evidence], rules: GateRules) -> dict[str, tuple[str, ...]]:
    """The values with a cell of their own, by slice, now that enough units have been counted."""
    named: dict[str, tuple[str, ...]] = {}
    for name in rules.slices:
        prefix, cells = label(name, ""), of_slice(evidence, name)
        total = sum(cell.mass_milli for cell in cells.values())
        named[name] = tuple(
            where.removeprefix(prefix)
            for where, cell in sorted(cells.items())
            if where != rest(name) and 10_000 * cell.mass_milli >= rules.slice_share_bp * total
        )
    return named


def merged(evidence: Mapping[Place, Evidence], named: Named) -> dict[Place, Evidence]:
    """The slice cells after naming: small values are in their slice's rest."""
    kept: dict[Place, Evidence] = {}
    for (where, metric), cell in evidence.items():
        name, _, value = where.partition(":")
        place = where if where == POOLED or value in (*named.get(name, ()), _REST) else rest(name)
        moved = cell.moved_to(place)
        before = kept.get((place, metric))
        kept[place, metric] = moved if before is None else before.merge(moved)
    return kept


def required_labels(evidence: Mapping[Place, Evidence], epoch: Epoch) -> tuple[str, ...]:
    """The slice cells that must pass: those with enough of the traffic."""
    found: list[str] = []
    for name in epoch.gates.slices:
        cells = of_slice(evidence, name)
        total = sum(cell.mass_milli for cell in cells.values())
        found += [
            where
            for where, cell in sorted(cells.items())
            if total and 10_000 * cell.mass_milli >= epoch.gates.slice_share_bp * total
        ]
    return tuple(found)


def of_slice(evidence: Mapping[Place, Evidence], name: str) -> dict[str, Evidence]:
    """The quality cells of one slice, by label."""
    prefix = label(name, "")
    return {where: cell for (where, metric), cell in evidence.items() if metric == QUALITY and where.startswith(prefix)}
