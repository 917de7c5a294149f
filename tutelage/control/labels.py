"""Folded pairs and what people said of them, on their way from the store to the gate's labels. Pure.

Owns what a label must be. Must not know which pairs count: `scoring.gates.labels`; what they prove: `scoring.gates.anchored`.
"""

from collections.abc import Sequence

from scoring.gates.labels import Label
from scoring.stats.lattice import FULL_WEIGHT
from tutelage.contracts.decisions import Epoch
from tutelage.contracts.pairs import Judgement
from tutelage.control.units import of_requests
from tutelage.store.base import Folded

HUMAN = "human"
LABELS_AT_ONCE = 200
ELSEWHERE = ""
"""The epoch of a pair that counts nowhere: it is outside the population."""


def labels_of(found: Sequence[Folded], epoch: Epoch) -> list[Label]:
    """Folded pairs as labels see them, in their order."""
    return [_label(folded, epoch) for folded in found]


def due_at(epoch: Epoch, admitted_at: float) -> float:
    """Until when a pair may be labelled."""
    return admitted_at + epoch.gates.label_within_s


def _label(folded: Folded, epoch: Epoch) -> Label:
    pair, units = folded.scored.pair, of_requests((folded.scored,)).units
    unit, due = units[0] if units else None, due_at(epoch, pair.admitted_at)
    return Label(
        number=folded.number,
        pair=pair.id,
        key=pair.sticky_key,
        epoch=ELSEWHERE if unit is None else unit.epoch,
        revision=pair.revision,
        weight_milli=FULL_WEIGHT if unit is None else max(1, unit.weight_milli * unit.risk_milli // FULL_WEIGHT),
        f=None if unit is None else unit.d,
        h=_in_time(folded.label, due),
        due_at=due,
    )


def _in_time(said: Judgement | None, due: float) -> float | None:
    return said.d if said is not None and said.scored_at <= due else None
