"""Folded pairs and what people said of them, on their way from the store to the gate's labels. Pure but for `labelled`,
which asks the store.

Owns what a label must be. Must not know which pairs count: `scoring.gates.labels`; what they prove: `scoring.gates.anchored`.
"""

from collections.abc import Sequence

from router.rollout import Rollout
from scoring.gates import controller
from scoring.gates.labels import Label
from scoring.stats.lattice import FULL_WEIGHT
from tutelage.contracts.decisions import Epoch
from tutelage.contracts.pairs import Judgement
from tutelage.control.units import of_requests
from tutelage.store.base import Fold, Folded, GateStore, Lease

HUMAN = "human"
LABELS_AT_ONCE = 200
ELSEWHERE = ""
"""The epoch of a pair that counts nowhere: it is outside the population."""


def labelled(
    store: GateStore, state: controller.State, rollout: Rollout, epoch: Epoch, now: float
) -> controller.State | None:
    """The state with the next labels of its student's pairs; None where there is nothing new."""
    if epoch.gates.label_bp is None:
        return None
    before = state.labels
    found = store.folded(rollout.route, before.position, LABELS_AT_ONCE if before.awaited is None else 1)
    after = controller.fold_labels(state, labels_of(found, epoch), rollout, epoch, now)
    return after if found and after.labels != before else None


def fold_of(
    reader: controller.State,
    rollout: Rollout,
    lease: Lease,
    *,
    state: controller.State,
    heir: controller.State | None = None,
) -> Fold:
    """The fold of labels that `reader` has read: the serving student's `state` or its successor's, `heir`."""
    return Fold(
        route=rollout.route,
        folded=(),
        gate_state=controller.encode(state),
        successor_state=None if heir is None else controller.encode(heir),
        lease=lease,
        revision=rollout.revision,
        label=reader.labels.position,
        reader=reader.epoch,
    )


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
