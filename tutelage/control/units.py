"""Units: what a gate counts as one observation, cut from judged pairs. Pure but for `Cutter`, which asks the store.

A unit is folded in the order of admission: what is judged waits for what was admitted before it, until that is judged or
has waited for so long that the rollout is held. So neither evidence nor detectors see first what is quick to be judged:
while the judge is away, ties, which need no judge, would else speak for the student alone. What is judged late is folded
late, and nothing is ever left out: a conversation waits for all of its turns.

A unit is a request, or a conversation that is over: silent for as long as its epoch says, or `UNIT_TURNS` turns or `UNIT_S`
long, where its next turns begin another. Then its d is the mean over its turns, one unit per direction and epoch. What needs no
judge is given to detectors at once as well: of its first turn alone, since turns of one conversation are alike, and detectors
promise a run length of things that are not. What has no score is named, never dropped: a turn that is "judge_unscorable", or
whose answer was lost on the student's side, is d = -1 for promotion and 0 for detectors, a teacher that failed as the worker
scored it.

Must not know cells, gates or thresholds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import msgspec

from router.types import FULL_BP, Direction, UnitOf
from scoring.evidence import QUALITY, SEVERE, TEACHER_FAILED
from scoring.stats.lattice import weight_milli
from tutelage.contracts.decisions import Epoch, Unit
from tutelage.contracts.records import CONTENT_LOST
from tutelage.control.analysis import slices_of
from tutelage.control.measures import OF_THE_WHOLE, metrics_of, times_ms_of
from tutelage.store.base import Closing, GateStore, Scored, Turns

JUDGE_DEADLINE_S = 900.0
"""A pair that waits longer for its score holds the rollout."""
WAITED_FOR_S = JUDGE_DEADLINE_S + 60.0
"""Until then the pairs admitted after it wait with it: longer than the hold takes to stand."""
UNIT_TURNS = 100
UNIT_S = 86_400.0
"""A key that never pauses, such as a service under one name, is one conversation for no longer than this."""
CONVERSATIONS_WAIT_S = 7200.0
"""For so long conversations wait for a turn that was admitted before they ended. Detectors must not wait for ever."""
NO_REFERENCE = "no_reference"
"""There is no right answer for the input: outside the population, counted, never a score."""
STUDENT_LOST = "student_lost"
WORST = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Units to fold, in order, and the store's numbers of the pairs that they came from; first turns of conversations, with
    what needs no judge, and the numbers of theirs. `passed` are later turns: read with their conversation."""

    units: tuple[Unit, ...] = ()
    orders: tuple[int, ...] = ()
    turns: tuple[Unit, ...] = ()
    watched: tuple[int, ...] = ()
    passed: tuple[Scored, ...] = ()
    no_reference: int = 0

    @property
    def until(self) -> float:
        """When the newest of its units and turns was; minus infinity where it has none."""
        known = [unit.last_at for unit in (*self.units, *self.turns)]
        return max([*known, *(turn.pair.admitted_at for turn in self.passed)], default=-math.inf)


class Cutter:
    """Cuts what is ready of one route, at most `limit` at a time."""

    def __init__(self, store: GateStore, limit: int) -> None:
        self._store = store
        self._limit = limit

    def cut(self, epoch: Epoch, now: float, analyses: Sequence[str] = ()) -> Cut:
        """The next units of the route of `epoch`, with the slices that `analyses` find; empty where nothing is ready."""
        route = epoch.route
        if epoch.unit == UnitOf.REQUEST:
            return of_requests(self._store.unfolded(route, self._limit, now - WAITED_FOR_S), analyses)
        unwatched = self._store.unwatched(route, self._limit, now - WAITED_FOR_S)
        begun = self._store.begun(route, {turn.pair.sticky_key for turn in unwatched})
        new = [turn for turn in unwatched if turn.pair.sticky_key not in begun]
        first = {(turn.pair.sticky_key, turn.pair.epoch): turn.order for turn in reversed(new)}
        firsts = [turn for turn in new if turn.order in first.values()]
        # All turns of a conversation that is over have been watched or passed: closing waits longer for what is not judged.
        closed = (
            () if len(unwatched) >= self._limit else self._store.closed(route, _closing(now, epoch.idle_s), self._limit)
        )
        return replace(
            of_conversations(closed, analyses),
            turns=of_turns(firsts, analyses),
            watched=tuple(turn.order for turn in firsts),
            passed=tuple(turn for turn in unwatched if turn.order not in first.values()),
        )


def _closing(now: float, idle_s: float) -> Closing:
    return Closing(
        idle_since=now - idle_s,
        waiting_since=now - CONVERSATIONS_WAIT_S,
        begun_before=now - UNIT_S,
        turns=UNIT_TURNS,
        span_s=UNIT_S,
    )


def of_requests(scored: Sequence[Scored], analyses: Sequence[str] = ()) -> Cut:
    """Each judged pair is a unit."""
    counted = _in_population(scored)
    return Cut(
        units=tuple(_unit((turn,), analyses) for turn in counted),
        orders=tuple(turn.order for turn in scored),
        no_reference=len(scored) - len(counted),
    )


def of_conversations(conversations: Iterable[Turns], analyses: Sequence[str] = ()) -> Cut:
    """Each silent conversation is a unit per direction and epoch: arms are never averaged with each other."""
    units: list[Unit] = []
    orders: list[int] = []
    outside = 0
    for turns in conversations:
        orders += [turn.order for turn in turns.scored]
        counted = _in_population(turns.scored)
        outside += len(turns.scored) - len(counted)
        ordered = sorted(counted, key=_population)
        units += [_unit(tuple(group), analyses) for _, group in groupby(ordered, key=_population)]
    in_order = tuple(sorted(units, key=lambda unit: (unit.last_at, unit.id)))
    return Cut(units=in_order, orders=tuple(orders), no_reference=outside)


def of_turns(scored: Sequence[Scored], analyses: Sequence[str] = ()) -> tuple[Unit, ...]:
    """Each judged turn with what needs no judge: no score of any kind."""
    return tuple(_at_once(_unit((turn,), analyses)) for turn in _in_population(scored))


def _at_once(unit: Unit) -> Unit:
    kept = {name: value for name, value in unit.metrics.items() if name not in OF_THE_WHOLE}
    return msgspec.structs.replace(unit, d=None, missing=None, metrics=kept, harm={})


def _in_population(scored: Sequence[Scored]) -> list[Scored]:
    return [_as_counted(turn) for turn in scored if turn.judgement.failure != NO_REFERENCE]


def _as_counted(turn: Scored) -> Scored:
    """A student's answer that we lost is not a failure of the student: nothing is known of it, and it is the worst."""
    student = turn.pair.student
    if student is None or student.error not in CONTENT_LOST:
        return turn
    return replace(turn, judgement=msgspec.structs.replace(turn.judgement, d=None, failure=STUDENT_LOST))


def _population(turn: Scored) -> tuple[Direction, str]:
    return turn.pair.direction, turn.pair.epoch


def _unit(turns: tuple[Scored, ...], analyses: Sequence[str]) -> Unit:
    """One unit of turns of one population. It counts from the revision of its first turn: never for more than it
    saw.
    """
    first = min(turns, key=lambda turn: (turn.pair.admitted_at, turn.pair.id)).pair
    missing = [name for turn in turns if (name := missing_class(turn)) is not None]
    known = [d for turn in turns if (d := turn.judgement.d) is not None]
    return Unit(
        id=first.id,
        route=first.route,
        epoch=first.epoch,
        direction=first.direction,
        revision=min(turn.pair.revision for turn in turns),
        key=first.sticky_key,
        d=sum(_read_for_promotion(turn) for turn in turns) / len(turns) if known else None,
        first_at=first.admitted_at,
        last_at=max(turn.pair.admitted_at for turn in turns),
        turns=len(turns),
        unscored=sum(name != TEACHER_FAILED for name in missing),
        weight_milli=weight_milli(first.shadow_bp / FULL_BP, first.floor_bp / FULL_BP),
        risk_milli=min(turn.judgement.risk_milli for turn in turns),
        policy_version=first.policy_version,
        missing=missing[0] if missing else None,
        slices=slices_of(first, analyses),
        metrics=metrics_of(turns),
        times_ms=times_ms_of(turns),
        harm=_harm(turns) if missing and len(missing) < len(turns) else {},
    )


def _harm(turns: Sequence[Scored]) -> dict[str, float]:
    """What detectors read: d and severe regressions, a turn without a plain score as none."""
    plain = [turn.judgement for turn in turns if missing_class(turn) is None]
    return {
        QUALITY: sum(judgement.d or 0.0 for judgement in plain) / len(turns),
        SEVERE: sum(judgement.severe or 0 for judgement in plain) / len(turns),
    }


def missing_class(turn: Scored) -> str | None:
    """Why a turn has no plain score; None where it has one."""
    judgement = turn.judgement
    return judgement.missing or ("no_score" if judgement.d is None else None)


def _read_for_promotion(turn: Scored) -> float:
    d = turn.judgement.d
    return WORST if d is None else d
