"""The rollout: what every event does in every phase.

* `Rollout` is one route's whole state; `step(rollout, event)` is the only thing that changes it. It is pure: the shell
  (`tutelage.store.apply`) commits the result under compare-and-set on `revision`, with the audit row.
* Each accepted event raises `revision` by one. A refused event raises `IllegalTransition` and changes nothing.
* Holds are a set of reasons. While it is not empty a gated rollout shows HELD: nothing advances by itself; step-down,
  rollback and a person's Promote still act. `operator` comes and goes by Pause and Resume only, whatever else happens.
  `futility` goes only with the evidence it was read from: with a new epoch or attempt. The others come and go by the
  controller, and end with an attempt. `epoch` ends at rung 0 as well, where there is no rung left to earn again.
* `since` remembers at which revision each statistic began anew. Whoever keeps evidence compares it with what it holds:
  a restart is thus a fact of the state, not a message that could be lost. A pair admitted under an older revision than
  `since.fresh` says nothing about the fresh key, and so on for each.
* Automatic and manual rollback both end in ROLLED_BACK at share 0, shadow on. Only Resume (a new attempt) or a new
  student version leaves it.
* What the configuration says of the share is an initial value. ChangeMode begins at the new mode's (rung 0 where
  evidence decides, the configured share where people do); while the mode stays, what stands here wins.
* A successor is a student that is shadowed beside the serving one. It has statistics of its own, begun at its `since`; to
  them it is a rollout in shadow whose first live rung is the one that the serving student stands on (`candidate`). It
  takes over at that rung (Succeed) or is dismissed; whatever takes the serving student off the ladder ends it too.
* Kill overrides the share without touching the phase: `share_in_force_bp`.

The table at the end is the documentation; a test walks Phase x Event. To add a transition, add its line. The events are in
`router.events`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar, cast

from router.events import (
    Advance,
    Begin,
    ChangeMode,
    Clear,
    Dismiss,
    Event,
    Hold,
    Kill,
    NewEpoch,
    NewStudent,
    NewSuccessor,
    Pause,
    Promote,
    Release,
    Resume,
    RollBack,
    Rollback,
    SetShare,
    StepDown,
    Succeed,
)
from router.stages import Ladder
from router.types import FULL_BP, Mode

OPERATOR = "operator"
FUTILITY = "futility"
EPOCH = "epoch"
TEACHER = "teacher"
"""The teacher's breaker is open: a failing student is held and a person paged, never rolled back onto a dead arm."""


class Phase(StrEnum):
    """PENDING: declared, not begun (e.g. still inside the student's training time). MANUAL: a share set by hand."""

    PENDING = "PENDING"
    SHADOW = "SHADOW"
    RAMPING = "RAMPING"
    HELD = "HELD"
    COMPLETE = "COMPLETE"
    ROLLED_BACK = "ROLLED_BACK"
    MANUAL = "MANUAL"


MEASURABLE = (Phase.RAMPING, Phase.HELD, Phase.COMPLETE)
"""Phases in which a successor can be measured beside the serving student."""


class Effect(StrEnum):
    """What the shell must do after a transition, beyond committing the new state. PAGE: tell a person."""

    PAGE = "page"


class IllegalTransition(Exception):
    """The event does not apply in this phase. The operator's fault or a late message; 409 on the admin plane."""

    def __init__(self, rollout: "Rollout", event: Event, why: str) -> None:
        what = f"{type(event).__name__} does not apply to route {rollout.route!r} in phase {rollout.phase}"
        super().__init__(f"{what}: {why}")
        self.phase = rollout.phase
        self.event = event


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Revision at which each statistic last began anew."""

    evidence: int = 0
    fresh: int = 0
    hold: int = 0
    down: int = 0
    back: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """A student version that is measured while another one serves. Its statistics count from revision `since` on."""

    student: str
    epoch: str
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """State of one route's rollout.

    `attempt` counts student versions and attempts after a rollback (salts differ by it). `alpha_index` is the v of
    alpha_v: constant within an attempt; the next one takes v + 1, or 1 where a person `confirmed` a promotion of this
    one; `dismissals` are successors that have used up a v since, without taking over. `rung` indexes `ladder`.
    `entered_at` is when (UTC seconds) share, rung or attempt last changed: dwell counts from it. `initial_bp` is a FIXED
    route's configured share; `waived_by` promoted past the evidence of this epoch.
    `dismissed` is the last successor that was sent away: it is not tried again.
    """

    route: str
    student: str
    mode: Mode
    ladder: Ladder
    epoch: str
    salt: str
    phase: Phase = Phase.PENDING
    share_bp: int = 0
    initial_bp: int = 0
    rung: int = 0
    holds: frozenset[str] = frozenset()
    attempt: int = 1
    alpha_index: int = 1
    revision: int = 1
    entered_at: float = 0.0
    killed: bool = False
    confirmed: bool = False
    waived_by: str | None = None
    since: Since = field(default_factory=Since)
    successor: Successor | None = None
    dismissed: str | None = None
    dismissals: int = 0

    @property
    def share_in_force_bp(self) -> int:
        """The student's share of new requests: 0 while killed."""
        return 0 if self.killed else self.share_bp


# --- rules: named, pure, short ----------------------------------------------------------------------------------------


def begin(rollout: Rollout, event: Begin) -> Rollout:
    return _at_start(_restart(rollout, *_STATISTICS))


def advance(rollout: Rollout, event: Advance | Promote) -> Rollout:
    if rollout.mode is not Mode.GATED:
        raise IllegalTransition(rollout, event, f"its mode is {rollout.mode}")
    if rollout.rung == rollout.ladder.top:
        raise IllegalTransition(rollout, event, "it stands on the last rung")
    return _restart(_at_rung(rollout, rollout.rung + 1), "fresh")


def step_down(rollout: Rollout, event: StepDown) -> Rollout:
    if rollout.rung == 0:
        raise IllegalTransition(rollout, event, "there is no rung below shadow")
    return _restart(_at_rung(rollout, rollout.rung - 1), "fresh", "down")


def roll_back(rollout: Rollout, event: RollBack | Rollback) -> Rollout:
    fallen = replace(rollout, phase=Phase.ROLLED_BACK, share_bp=0, rung=0, holds=rollout.holds & {OPERATOR})
    return _alone(fallen)


def hold(rollout: Rollout, event: Hold) -> Rollout:
    if event.hold in rollout.holds or event.hold == OPERATOR:
        raise IllegalTransition(rollout, event, f"hold {event.hold!r} stands already or is an operator's")
    return _settled(replace(rollout, holds=rollout.holds | {event.hold}))


def release(rollout: Rollout, event: Release) -> Rollout:
    if event.hold not in rollout.holds - {OPERATOR, FUTILITY}:
        raise IllegalTransition(rollout, event, f"hold {event.hold!r} does not stand or is not the controller's")
    return _settled(replace(rollout, holds=rollout.holds - {event.hold}))


def pause(rollout: Rollout, event: Pause) -> Rollout:
    if OPERATOR in rollout.holds:
        raise IllegalTransition(rollout, event, "it is paused already")
    return _settled(replace(rollout, holds=rollout.holds | {OPERATOR}))


def resume_held(rollout: Rollout, event: Resume) -> Rollout:
    if OPERATOR not in rollout.holds:
        raise IllegalTransition(rollout, event, f"held by {', '.join(sorted(rollout.holds))}, not by an operator")
    return _restart(_settled(replace(rollout, holds=rollout.holds - {OPERATOR})), "fresh")


def resume_manual(rollout: Rollout, event: Resume) -> Rollout:
    if rollout.mode is not Mode.GATED:
        raise IllegalTransition(rollout, event, "the route has a fixed split and no ladder; set the share instead")
    resumed = replace(rollout, holds=rollout.holds - {OPERATOR})
    return _restart(_at_rung(resumed, rollout.ladder.rung_at_or_below(rollout.share_bp)), "fresh")


def resume_rolled_back(rollout: Rollout, event: Resume) -> Rollout:
    return _new_attempt(replace(rollout, holds=frozenset()), salt=event.salt)


def promote(rollout: Rollout, event: Promote) -> Rollout:
    advanced = advance(rollout, event)
    return replace(advanced, waived_by=event.actor) if event.waived else replace(advanced, confirmed=True, dismissals=0)


def set_share(rollout: Rollout, event: SetShare) -> Rollout:
    if rollout.mode is Mode.OBSERVE:
        raise IllegalTransition(rollout, event, "the route is observe-only: its share is 0, guaranteed")
    if not 0 <= event.share_bp <= FULL_BP:
        raise IllegalTransition(rollout, event, f"share {event.share_bp} bp is not within 0..{FULL_BP}")
    return replace(rollout, phase=Phase.MANUAL, share_bp=event.share_bp)


def kill(rollout: Rollout, event: Kill) -> Rollout:
    return replace(rollout, killed=True)


def clear(rollout: Rollout, event: Clear) -> Rollout:
    if not rollout.killed:
        raise IllegalTransition(rollout, event, "it is not killed")
    return replace(rollout, killed=False)


def new_student(rollout: Rollout, event: NewStudent) -> Rollout:
    """At share 0 in every mode: nothing is known of it. A fixed split's share is the operator's to give again."""
    changed = replace(rollout, student=event.student, epoch=event.epoch, ladder=event.ladder)
    return replace(_new_attempt(changed, salt=event.salt), share_bp=0)


def new_successor(rollout: Rollout, event: NewSuccessor) -> Rollout:
    if rollout.rung == 0 or rollout.mode is not Mode.GATED:
        raise IllegalTransition(rollout, event, "no student serves on a rung that it could reach")
    return replace(
        rollout,
        successor=Successor(student=event.student, epoch=event.epoch, since=rollout.revision + 1),
        dismissed=None,
    )


def succeed(rollout: Rollout, event: Succeed) -> Rollout:
    """Share, rung and salt stay: the same users have the student, which is now another one."""
    heir = rollout.successor
    if heir is None or rollout.rung == 0:
        raise IllegalTransition(rollout, event, "there is no successor, or no rung to take over")
    following = replace(
        rollout,
        student=heir.student,
        epoch=heir.epoch,
        successor=None,
        attempt=rollout.attempt + 1,
        alpha_index=_next_alpha_index(rollout),
        dismissals=0,
        confirmed=False,
        waived_by=None,
        holds=rollout.holds & {OPERATOR},
        since=_all_since(heir.since),
    )
    return _restart(_settled(following), "fresh")


def dismiss(rollout: Rollout, event: Dismiss) -> Rollout:
    if rollout.successor is None:
        raise IllegalTransition(rollout, event, "there is no successor")
    return replace(_alone(rollout), dismissed=rollout.successor.student)


def new_epoch(rollout: Rollout, event: NewEpoch) -> Rollout:
    """The evidence starts anew, a successor's too; the share stays, and the rung is the new ladder's at or below."""
    rung = event.ladder.rung_at_or_below(rollout.ladder.share_bp(rollout.rung))
    changed = replace(rollout, epoch=event.epoch, ladder=event.ladder, rung=rung, waived_by=None, successor=None)
    return _restart(replace(changed, holds=rollout.holds - {FUTILITY}), *_STATISTICS)


def new_epoch_on_rung(rollout: Rollout, event: NewEpoch) -> Rollout:
    """The share goes with the rung; `epoch` holds until the new evidence reaches it."""
    changed = new_epoch(rollout, event)
    return _at_rung(replace(changed, holds=changed.holds | {EPOCH}), changed.rung)


def change_mode(rollout: Rollout, event: ChangeMode) -> Rollout:
    """The new mode begins where it begins; within a mode, and before or after a rollout, it is only remembered."""
    kept = rollout if event.mode is rollout.mode else _alone(rollout)
    changed = replace(kept, mode=event.mode, initial_bp=event.share_bp)
    if event.mode is rollout.mode or rollout.phase in (Phase.PENDING, Phase.ROLLED_BACK):
        return changed
    return _restart(_at_start(replace(changed, holds=rollout.holds & {OPERATOR, FUTILITY})), "fresh")


def candidate(rollout: Rollout) -> Rollout | None:
    """The successor as its statistics see it: in shadow, below the rung on which the serving student stands."""
    heir = rollout.successor
    if heir is None:
        return None
    return replace(
        rollout,
        student=heir.student,
        epoch=heir.epoch,
        ladder=Ladder(shares_bp=(0, *rollout.ladder.shares_bp[max(1, rollout.rung) :])),
        phase=Phase.SHADOW,
        share_bp=0,
        rung=0,
        holds=frozenset(),
        attempt=rollout.attempt + 1,
        alpha_index=_next_alpha_index(rollout),
        since=_all_since(heir.since),
        successor=None,
    )


# --- what the rules share ---------------------------------------------------------------------------------------------

_STATISTICS = ("evidence", "fresh", "hold", "down", "back")


def _at_start(rollout: Rollout) -> Rollout:
    """Where a rollout begins: at the configured share where people decide, else on rung 0."""
    if rollout.mode is Mode.FIXED:
        return replace(rollout, phase=Phase.MANUAL, rung=0, share_bp=rollout.initial_bp)
    return _at_rung(rollout, 0)


def _at_rung(rollout: Rollout, rung: int) -> Rollout:
    holds = rollout.holds if rung else rollout.holds - {EPOCH}
    return _settled(replace(rollout, rung=rung, share_bp=rollout.ladder.share_bp(rung), holds=holds))


def _settled(rollout: Rollout) -> Rollout:
    """The phase that a rollout on its ladder shows for its rung and holds."""
    if rollout.holds:
        phase = Phase.HELD
    elif rollout.rung == 0:
        phase = Phase.SHADOW
    elif rollout.rung == rollout.ladder.top:
        phase = Phase.COMPLETE
    else:
        phase = Phase.RAMPING
    return replace(rollout, phase=phase)


def _restart(rollout: Rollout, *statistics: str) -> Rollout:
    """Mark `statistics` as begun at the revision that this transition will produce."""
    return replace(rollout, since=replace(rollout.since, **dict.fromkeys(statistics, rollout.revision + 1)))


def _next_alpha_index(rollout: Rollout) -> int:
    return (0 if rollout.confirmed else rollout.alpha_index) + rollout.dismissals + 1


def _alone(rollout: Rollout) -> Rollout:
    """Without a successor: one that stood has used up its v."""
    return replace(rollout, successor=None, dismissals=rollout.dismissals + (rollout.successor is not None))


def _all_since(revision: int) -> Since:
    return Since(**dict.fromkeys(_STATISTICS, revision))


def _new_attempt(rollout: Rollout, *, salt: str) -> Rollout:
    alone = _alone(rollout)
    opened = replace(
        alone,
        attempt=rollout.attempt + 1,
        alpha_index=_next_alpha_index(alone),
        dismissals=0,
        confirmed=False,
        salt=salt,
        holds=rollout.holds & {OPERATOR},
        waived_by=None,
    )
    return _at_start(_restart(opened, *_STATISTICS))


# --- the table --------------------------------------------------------------------------------------------------------

Rule = Callable[[Rollout, Event], Rollout]
_E = TypeVar("_E", bound=Event)
_Row = tuple[type[Event], tuple[Phase, ...], Rule]


def _on(event: type[_E], phases: tuple[Phase, ...], rule: Callable[[Rollout, _E], Rollout]) -> _Row:
    """One line of the table. The cast holds because `step` looks a rule up by the event's own type."""
    return event, phases, cast("Rule", rule)


_EVERY = tuple(Phase)
_ON_LADDER = (Phase.SHADOW, Phase.RAMPING, Phase.HELD, Phase.COMPLETE)
_SERVING = (*_ON_LADDER, Phase.MANUAL)

_ROWS: tuple[_Row, ...] = (
    _on(Begin, (Phase.PENDING,), begin),
    _on(Advance, (Phase.SHADOW, Phase.RAMPING), advance),
    _on(StepDown, (Phase.RAMPING, Phase.HELD, Phase.COMPLETE), step_down),
    _on(RollBack, _ON_LADDER, roll_back),
    _on(Hold, _ON_LADDER, hold),
    _on(Release, (Phase.HELD,), release),
    _on(Pause, _ON_LADDER, pause),
    _on(Resume, (Phase.HELD,), resume_held),
    _on(Resume, (Phase.MANUAL,), resume_manual),
    _on(Resume, (Phase.ROLLED_BACK,), resume_rolled_back),
    _on(Promote, (Phase.SHADOW, Phase.RAMPING, Phase.HELD), promote),
    _on(Rollback, _SERVING, roll_back),
    _on(SetShare, _SERVING, set_share),
    _on(Kill, _EVERY, kill),
    _on(Clear, _EVERY, clear),
    _on(NewStudent, _EVERY, new_student),
    _on(NewSuccessor, MEASURABLE, new_successor),
    _on(Succeed, MEASURABLE, succeed),
    _on(Dismiss, _EVERY, dismiss),
    _on(NewEpoch, _ON_LADDER, new_epoch_on_rung),
    _on(NewEpoch, (Phase.PENDING, Phase.ROLLED_BACK, Phase.MANUAL), new_epoch),
    _on(ChangeMode, _EVERY, change_mode),
)
TRANSITIONS: dict[tuple[Phase, type[Event]], Rule] = {
    (phase, event): rule for event, phases, rule in _ROWS for phase in phases
}


_STANDS: dict[Phase, str] = {
    Phase.PENDING: "it has not begun: the student's training time is not over",
    Phase.SHADOW: "it stands on rung 0, and nothing holds it",
    Phase.RAMPING: "it ramps, and nothing holds it",
    Phase.HELD: "it is held",
    Phase.COMPLETE: "it stands on the last rung",
    Phase.ROLLED_BACK: "it is rolled back; resume opens a new attempt",
    Phase.MANUAL: "its share is set by hand, and nothing else moves it",
}
"""Why an event without a line in the table does not apply."""


def step(rollout: Rollout, event: Event) -> tuple[Rollout, tuple[Effect, ...]]:
    """Advance the rollout by one event. Raises IllegalTransition, and changes nothing, if the event does not apply."""
    rule = TRANSITIONS.get((rollout.phase, type(event)))
    if rule is None:
        raise IllegalTransition(rollout, event, _STANDS[rollout.phase])
    after = rule(rollout, event)
    entered_at = rollout.entered_at if _footing(after) == _footing(rollout) else event.at
    after = replace(after, revision=rollout.revision + 1, entered_at=entered_at)
    return after, ((Effect.PAGE,) if _calls_a_person(event) else ())


def _footing(rollout: Rollout) -> tuple[object, ...]:
    """What dwell is about: a change of any of these starts it anew."""
    return rollout.share_in_force_bp, rollout.rung, rollout.attempt, rollout.phase is Phase.PENDING


def _calls_a_person(event: Event) -> bool:
    return isinstance(event, RollBack | StepDown) or (isinstance(event, Hold) and event.hold == TEACHER)
