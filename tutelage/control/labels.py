"""People's labels on their way from the store to the gate. Pure.

Owns what a label must be. Must not know what labels prove: `scoring.gates.anchored`.
"""

from collections.abc import Sequence

from scoring.gates.labels import Label, draws
from scoring.stats.lattice import FULL_WEIGHT
from tutelage.contracts.decisions import Epoch
from tutelage.contracts.pairs import Judgement
from tutelage.control.units import of_requests
from tutelage.store.base import Scored

HUMAN = "human"
LABELS_AT_ONCE = 200
ELSEWHERE = ""
"""The epoch of a label that counts nowhere: of what was not drawn, or is outside the population."""


def labels_of(found: Sequence[tuple[int, Scored, Judgement]], epoch: Epoch) -> list[Label]:
    """The labels of pairs that were drawn for it; of others only the number is read."""
    return [_label(number, scored, said, epoch) for number, scored, said in found]


def _label(number: int, scored: Scored, said: Judgement, epoch: Epoch) -> Label:
    counted = of_requests((scored,)).units if said.d is not None and draws(epoch, scored.pair.id) else ()
    for unit in counted:
        return Label(
            number=number,
            epoch=unit.epoch,
            revision=unit.revision,
            weight_milli=max(1, unit.weight_milli * unit.risk_milli // FULL_WEIGHT),
            f=unit.d,
            h=said.d or 0.0,
        )
    return Label(number=number, epoch=ELSEWHERE, revision=0, weight_milli=FULL_WEIGHT, f=None, h=0.0)
