"""Replay: every decision of the gate, decided again from the records that the store holds, and compared.

Owns what is compared and what counts as the same. Must not know how decisions are shown. The gate is the one that decided
(`scoring.gates.controller`): folds are made again, in their order and under the rollouts of their time, from pairs,
judgements and labels, never from a stored state; what only the shell knew stands in the decision (`Decision.facts`).

Pairs whose content is past its retention, or was erased, cannot be folded again: what was decided on them is unknown until
another epoch begins.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec

from router.events import Dismiss, Succeed
from router.rollout import Rollout, candidate
from router.types import UnitOf
from scoring.gates import controller
from scoring.gates.facts import Facts
from scoring.gates.numbers import cells
from scoring.gates.view import look
from tutelage.contracts.decisions import CellNumbers, Decision, Epoch
from tutelage.contracts.records import Json
from tutelage.control.labels import labels_of
from tutelage.control.refusals import REFUSAL
from tutelage.control.serving import units_of
from tutelage.control.succession import succession
from tutelage.control.units import Cut, of_conversations, of_requests, of_turns
from tutelage.store.base import Refold, Scored, Store, Turns

LOG_E_TOLERANCE = 1e-9
DETECTOR_TOLERANCE = 1e-9
"""Relative: detectors grow to 10¹²."""
DECISIONS_AT_MOST = 2**31 - 1
_OF_SUCCESSORS = (Succeed.__name__, Dismiss.__name__)


class Found(StrEnum):
    """SAME, DIFFERENT, or UNKNOWN: what it was decided on is gone."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """One decision of the gate and what came of deciding it again; `differences` in words."""

    decision: Decision
    found: Found
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """All decisions of a route that the gate made, oldest first; `others` were made by people and configuration."""

    again: tuple[Again, ...]
    others: int

    def count(self, found: Found) -> int:
        return sum(one.found is found for one in self.again)


def replay(store: Store, route: str, analyses: Sequence[str]) -> Replay:
    """Decide everything again. `analyses` are the slices that the route finds in inputs. Reads every pair once."""
    machine = _Machine(store, route, analyses)
    decisions = list(reversed(store.history(route, DECISIONS_AT_MOST)))
    own = [decision for decision in decisions if decision.folds is not None]
    return Replay(again=tuple(machine.again(decision) for decision in own), others=len(decisions) - len(own))


def document(found: Replay) -> Json:
    """The replay as the admin plane and `--json` show it."""
    return {
        "same": found.count(Found.SAME),
        "different": found.count(Found.DIFFERENT),
        "unknown": found.count(Found.UNKNOWN),
        "others": found.others,
        "decisions": [
            {
                "id": one.decision.id,
                "revision_to": one.decision.revision_to,
                "event": one.decision.event,
                "found": one.found,
                "differences": list(one.differences),
            }
            for one in found.again
        ],
    }


@dataclass(slots=True)
class _Machine:
    """The gate's memory of one route, as far as `folds` of its folds have been made again. `torn` are epochs of which pairs
    are gone."""

    store: Store
    route: str
    analyses: Sequence[str]
    folds: int = 0
    state: controller.State | None = None
    beside: controller.State | None = None
    torn: set[str] = field(default_factory=set)

    def again(self, decision: Decision) -> Again:
        """Decide it again where it was made."""
        self._fold_up_to(decision.folds or 0)
        rollout = self.store.rollout_at(self.route, decision.revision_from)
        if rollout is None:
            return Again(decision=decision, found=Found.UNKNOWN, differences=("its rollout is not on record",))
        successor = decision.event in _OF_SUCCESSORS
        judged = candidate(rollout) if successor else rollout
        epoch = None if judged is None else self.store.epoch(judged.epoch)
        if judged is None or epoch is None:
            return Again(decision=decision, found=Found.UNKNOWN, differences=("its epoch is not on record",))
        if epoch.id in self.torn:
            return Again(decision=decision, found=Found.UNKNOWN, differences=("pairs that it was made on are gone",))
        state = self._known(judged, epoch)
        differences = tuple(_differences(decision, state, judged, epoch))
        return Again(decision=decision, found=Found.DIFFERENT if differences else Found.SAME, differences=differences)

    def _fold_up_to(self, folds: int) -> None:
        while self.folds < folds:
            self.folds += 1
            fold = self.store.refold(self.route, self.folds)
            rollout = None if fold is None else self.store.rollout_at(self.route, fold.revision)
            if fold is not None and rollout is not None:
                self._fold(fold, rollout)

    def _fold(self, fold: Refold, rollout: Rollout) -> None:
        epoch = self.store.epoch(rollout.epoch)
        if epoch is None:
            return
        cut = _cut(fold, UnitOf(epoch.unit), self.analyses)
        state = self._known(rollout, epoch)
        if fold.served:
            self.state = controller.fold_servings(state, units_of(fold.served, epoch), rollout, epoch)
        elif fold.label is None:
            self.state = controller.fold_all(state, cut.units, rollout, epoch, cut.turns)
            self._fold_beside(cut, rollout)
        elif fold.reader == epoch.id:
            self.state = self._labelled(fold.label, rollout, epoch)
        else:
            self._label_beside(fold.label, rollout)
        if fold.purged:
            heir = candidate(rollout)
            self.torn |= {rollout.epoch} if heir is None else {rollout.epoch, heir.epoch}

    def _fold_beside(self, cut: Cut, rollout: Rollout) -> None:
        heir = candidate(rollout)
        its = None if heir is None else self.store.epoch(heir.epoch)
        if heir is not None and its is not None:
            self.beside = controller.fold_all(self._known(heir, its), cut.units, heir, its, cut.turns)

    def _label_beside(self, label: int, rollout: Rollout) -> None:
        heir = candidate(rollout)
        its = None if heir is None else self.store.epoch(heir.epoch)
        if heir is not None and its is not None:
            self.beside = self._labelled(label, heir, its)

    def _labelled(self, label: int, rollout: Rollout, epoch: Epoch) -> controller.State:
        """The state of an epoch with labels up to the one of this number."""
        state = self._known(rollout, epoch)
        before = state.labels.position
        read = self.store.folded(self.route, before, label - before)
        counted = labels_of([one for one in read if one.number <= label], epoch)
        return controller.fold_labels(state, counted, rollout, epoch, math.inf)

    def _known(self, rollout: Rollout, epoch: Epoch) -> controller.State:
        """The state of an epoch as `gates.state_of` finds it."""
        kept = (state for state in (self.state, self.beside) if state is not None and state.epoch == epoch.id)
        before = self.state or controller.initial(rollout, epoch)
        return next(kept, None) or controller.caught_up(before, rollout, epoch)


def _cut(fold: Refold, unit: UnitOf, analyses: Sequence[str]) -> Cut:
    if unit is UnitOf.REQUEST:
        return of_requests(fold.scored, analyses)
    keys: dict[str, list[Scored]] = {}
    for turn in fold.scored:
        keys.setdefault(turn.pair.sticky_key, []).append(turn)
    whole = of_conversations([Turns(key=key, scored=tuple(turns)) for key, turns in keys.items()], analyses)
    return replace(whole, turns=of_turns(fold.watched, analyses))


# --- what counts as the same ------------------------------------------------------------------------------------------


def _differences(decision: Decision, state: controller.State, rollout: Rollout, epoch: Epoch) -> list[str]:
    facts = msgspec.convert(decision.facts, Facts)
    ruling = controller.decide(state, rollout, epoch, facts, decision.at)
    event = succession(ruling.event, decision.at) if decision.event in _OF_SUCCESSORS else ruling.event
    name = REFUSAL if event is None else type(event).__name__
    seen = ruling.cells if ruling.event is not None else cells(look(state, rollout, epoch, facts, decision.at))
    found = [
        f"{what}: recorded {recorded!r}, decided again {again!r}"
        for what, recorded, again in (
            ("event", decision.event, name),
            ("reason", decision.reason, ruling.reason),
            ("cells", [cell.cell for cell in decision.cells], [cell.cell for cell in seen]),
        )
        if recorded != again
    ]
    for recorded, again in zip(decision.cells, seen, strict=False):
        found += _of_cell(recorded, again)
    return found + _of_detectors(decision.detectors, ruling.detectors)


def _of_cell(recorded: CellNumbers, again: CellNumbers) -> list[str]:
    found = []
    if (recorded.n, recorded.histogram_digest) != (again.n, again.histogram_digest):
        found.append(f"{recorded.cell}: recorded {recorded.n} units, counted again {again.n}, or of other scores")
    for what in ("log_e", "threshold"):
        before, after = _finite(getattr(recorded, what)), _finite(getattr(again, what))
        if abs(before - after) > LOG_E_TOLERANCE:
            found.append(f"{recorded.cell}: {what} recorded {before!r}, again {after!r}")
    return found


def _of_detectors(recorded: Mapping[str, float], again: Mapping[str, float]) -> list[str]:
    return [
        f"detector {name}: recorded {value!r}, again {again.get(name)!r}"
        for name, value in recorded.items()
        if not math.isclose(value, again.get(name, math.nan), rel_tol=DETECTOR_TOLERANCE, abs_tol=DETECTOR_TOLERANCE)
    ]


def _finite(value: float) -> float:
    """As records keep it: JSON has no infinity."""
    return max(-sys.float_info.max, min(sys.float_info.max, value))
