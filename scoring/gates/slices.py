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

from scoring.evidence import POOLED
from tutelage.contracts.decisions import GateRules, Unit

NAMING_UNITS = 100
VALUES_KEPT = 32
"""Values of one slice that are counted apart while slices are named."""
_REST = "*"

Place = tuple[str, str]
"""(slice, metric): a cell within its epoch and direction."""
Named = Mapping[str, tuple[str, ...]]
"""Values with a cell of their own, by slice; empty until slices are named."""
Traffic = Mapping[str, int]
"""How much of the traffic each slice cell has seen: the weights of its units, in thousandths."""


def label(name: str, value: str) -> str:
    """How the cell of one value is called."""
    return f"{name}:{value}"


def rest(name: str) -> str:
    """How the cell of a slice's other values is called."""
    return label(name, _REST)


def labels_of(unit: Unit, rules: GateRules, named: Named, known: Iterable[str]) -> tuple[str, ...]:
    """The slice cells that `unit` is counted in: one per slice. `known` are those that there are."""
    return tuple(_label_of(unit, name, named, known) for name in rules.slices)


def _label_of(unit: Unit, name: str, named: Named, known: Iterable[str]) -> str:
    value = unit.slices.get(name)
    if value is None or value == _REST:
        return rest(name)
    if named:
        return label(name, value) if value in named[name] else rest(name)
    own = [where for where in known if where.startswith(label(name, ""))]
    return label(name, value) if label(name, value) in own or len(own) < VALUES_KEPT else rest(name)


def name_values(traffic: Traffic, rules: GateRules) -> dict[str, tuple[str, ...]]:
    """The values with a cell of their own, by slice, now that enough units have been counted."""
    named: dict[str, tuple[str, ...]] = {}
    for name in rules.slices:
        large = _large(traffic, name, rules.slice_share_bp)
        named[name] = tuple(where.removeprefix(label(name, "")) for where in large if where != rest(name))
    return named


def required_labels(traffic: Traffic, rules: GateRules) -> tuple[str, ...]:
    """The slice cells that must pass: those with enough of the traffic."""
    return tuple(where for name in rules.slices for where in _large(traffic, name, rules.slice_share_bp))


def counted(traffic: Traffic, labels: Iterable[str], weight_milli: int) -> Traffic:
    """The traffic with one more unit, which stands for so much of it."""
    return {**traffic, **{where: traffic.get(where, 0) + weight_milli for where in labels}}


def share(traffic: Traffic, where: str) -> float:
    """A slice cell's part of its slice's traffic."""
    return traffic.get(where, 0) / max(1, sum(_of_slice(traffic, where.partition(":")[0]).values()))


def home(where: str, named: Named) -> str:
    """The cell in which a label is counted after naming: its own, or its slice's rest."""
    name, _, value = where.partition(":")
    return where if where == POOLED or value in named.get(name, ()) else rest(name)


def _large(traffic: Traffic, name: str, share_bp: int) -> list[str]:
    of_slice = _of_slice(traffic, name)
    total = sum(of_slice.values())
    return [where for where, mass in sorted(of_slice.items()) if 10_000 * mass >= share_bp * total]


def _of_slice(traffic: Traffic, name: str) -> dict[str, int]:
    prefix = label(name, "")
    return {where: mass for where, mass in traffic.items() if where.startswith(prefix)}
