"""The rollout: what every event does in every phase.

Rules
-----
* `Rollout` is one route's whole state; `step(rollout, event)` is the only thing that changes it. It is pure: the shell
  (`tutelage.store.apply`) commits the result under compare-and-set on `revision`, with the audit row.
* Each accepted event raises `revision` by one. A refused event raises `IllegalTransition` and changes nothing.
* Holds are a set of reasons. While it is not empty a gated rollout shows HELD: nothing advances by itself, step-down and
  rollback still act. `operator` comes and goes by Pause and Resume only, `futility` goes only with a new epoch, the others
  come and go by the controller.
* `since` remembers at which revision each statistic began anew. Whoever keeps evidence compares it with what it holds:
  a restart is thus a fact of the state, not a message that could be lost. A pair admitted under an older revision than
  `since.fresh` says nothing about the fresh key, and so on for each.
* Automatic and manual rollback both end in ROLLED_BACK at share 0, shadow on. Only Resume (a new attempt) or a new
  student version leaves it.
* Kill overrides the share without touching the phase: `share_in_force_bp`.

The table `TRANSITIONS` below is the documentation; a test walks Phase x Event. To add a transition, add its line.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from router.stages import Ladder

OPERATOR = "operator"
FUTILITY = "futility"
EPOCH = "epoch"


class Mode(StrEnum):
    """GATED: evidence moves the share. FIXED: people do. OBSERVE: the share is 0, guaranteed."""

    GATED = "gated"
    FIXED = "fixed"
    OBSERVE = "observe"


class Phase(StrEnum):
    """PENDING: declared, not begun (e.g. still inside the student's training time). MANUAL: a share set by hand."""

    PENDING = "PENDING"
    SHADOW = "SHADOW"
    RAMPING = "RAMPING"
    HELD = "HELD"
    COMPLETE = "COMPLETE"
    ROLLED_BACK = "ROLLED_BACK"
    MANUAL = "MANUAL"


class Effect(StrEnum):
    """What the shell must do after a transition, beyond committing the new state. PAGE: tell a person."""

    PAGE = "page"


class IllegalTransition(Exception):
    """The event does not apply in this phase. The operator's fault or a late message; 409 on the admin plane."""

    def __init__(self, rollout: "Rollout", event: "Event", why: str) -> None:
        super().__init__(f"{type(event).__name__} does not apply to route {rollout.route!r} in phase {rollout.phase}: {why}")
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
class Rollout:
    """State of one route's rollout.

    `attempt` counts student versions and attempts after a rollback (salts differ by it); `alpha_index` is the v of
    alpha_v and starts again when a person confirms a promotion. `rung` indexes `ladder`. `entered_at` is the time (UTC
    seconds) of the last change of share: dwell counts from it. `initial_bp` is the configuration's share for FIXED routes.
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
    waived_by: str | None = None
    since: Since = field(default_factory=Since)

    @property
    def share_in_force_bp(self) -> int:
        """The student's share of new requests: 0 while killed."""
        return 0 if self.killed else self.share_bp


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at `at` (UTC seconds), by `actor` ("controller", "configuration" or a key's id)."""

    at: float
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin(Event):
    """The declared student may be measured from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance(Event):
    """Every required cell, the fresh key, dwell and approval allow the next rung."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDown(Event):
    """The step-down detector fired: one rung down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack(Event):
    """The rollback detector fired: back to shadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Event):
    """Freeze promotion for reason `hold`."""

    hold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Event):
    """The controller takes back one automatic hold."""

    hold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Event):
    """Operator: no automatic promotion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Event):
    """Operator: go on. `salt` is used where this opens a new attempt."""

    salt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(Event):
    """Operator: next rung. `waived` is False where every required cell had passed (then it is the approval)."""

    waived: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Event):
    """Operator: back to shadow now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetShare(Event):
    """Operator: this share, by hand."""

    share_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Event):
    """Operator: the student serves nothing, at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear(Event):
    """Operator: take the kill back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStudent(Event):
    """Configuration: another student version."""

    student: str
    epoch: str
    salt: str
    ladder: Ladder


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpoch(Event):
    """Configuration: teacher, judge, rubric, margin or ladder changed; the student is the same."""

    epoch: str
    ladder: Ladder


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMode(Event):
    """Configuration: gated, fixed (at `share_bp`) or observe-only."""

    mode: Mode
    share_bp: int


# --- rules: named, pure, short ----------------------------------------------------------------------------------------

Rule = Callable[[Rollout, Event], Rollout]


def begin(rollout: Rollout, event: Event) -> Rollout:
    if rollout.mode is Mode.FIXED:
        return replace(rollout, phase=Phase.MANUAL, share_bp=rollout.initial_bp)
    return _at_rung(rollout, 0)


def advance(rollout: Rollout, event: Event) -> Rollout:
    if rollout.mode is not Mode.GATED:
        raise IllegalTransition(rollout, event, f"mode is {rollout.mode}")
    if rollout.rung == rollout.ladder.top:
        raise IllegalTransition(rollout, event, "it stands on the last rung")
    return _restart(_at_rung(rollout, rollout.rung + 1), "fresh")


def step_down(rollout: Rollout, event: Event) -> Rollout:
    if rollout.rung == 0:
        raise IllegalTransition(rollout, event, "there is no rung below shadow")
    return _restart(_at_rung(rollout, rollout.rung - 1), "fresh", "down")


def roll_back(rollout: Rollout, event: Event) -> Rollout:
    return replace(rollout, phase=Phase.ROLLED_BACK, share_bp=0, rung=0, holds=frozenset())


def hold(rollout: Rollout, event: Event) -> Rollout:
    assert isinstance(event, Hold)
    if event.hold in rollout.holds or event.hold == OPERATOR:
        raise IllegalTransition(rollout, event, f"hold {event.hold!r} stands already or is the operator's")
    return _settled(replace(rollout, holds=rollout.holds | {event.hold}))


def release(rollout: Rollout, event: Event) -> Rollout:
    assert isinstance(event, Release)
    if event.hold not in rollout.holds or event.hold in (OPERATOR, FUTILITY):
        raise IllegalTransition(rollout, event, f"hold {event.hold!r} does not stand or is not the controller's to release")
    return _settled(replace(rollout, holds=rollout.holds - {event.hold}))


def pause(rollout: Rollout, event: Event) -> Rollout:
    if OPERATOR in rollout.holds:
        raise IllegalTransition(rollout, event, "it is paused already")
    return _settled(replace(rollout, holds=rollout.holds | {OPERATOR}))


def resume_held(rollout: Rollout, event: Event) -> Rollout:
    if OPERATOR not in rollout.holds:
        raise IllegalTransition(rollout, event, f"held by {', '.join(sorted(rollout.holds))}, not by an operator")
    return _restart(_settled(replace(rollout, holds=rollout.holds - {OPERATOR})), "fresh")


def resume_manual(rollout: Rollout, event: Event) -> Rollout:
    if rollout.mode is not Mode.GATED:
        raise IllegalTransition(rollout, event, "the route has a fixed split and no ladder; set the share instead")
    return _restart(_at_rung(rollout, rollout.ladder.rung_at_or_below(rollout.share_bp)), "fresh")


def resume_rolled_back(rollout: Rollout, event: Event) -> Rollout:
    assert isinstance(event, Resume)
    return _new_attempt(rollout, salt=event.salt)


def promote(rollout: Rollout, event: Event) -> Rollout:
    assert isinstance(event, Promote)
    advanced = advance(replace(rollout, holds=rollout.holds & {FUTILITY}), event)
    if event.waived:
        return replace(advanced, waived_by=event.actor)
    return replace(advanced, alpha_index=0)  # a person confirmed it: the next version spends alpha_1 again


def set_share(rollout: Rollout, event: Event) -> Rollout:
    assert isinstance(event, SetShare)
    if rollout.mode is Mode.OBSERVE:
        raise IllegalTransition(rollout, event, "the route is observe-only: its share is 0, guaranteed")
    if not 0 <= event.share_bp <= 10_000:
        raise IllegalTransition(rollout, event, f"share {event.share_bp} bp is not within 0..10000")
    return replace(rollout, phase=Phase.MANUAL, share_bp=event.share_bp, holds=rollout.holds - {OPERATOR})


def kill(rollout: Rollout, event: Event) -> Rollout:
    return replace(rollout, killed=True)


def clear(rollout: Rollout, event: Event) -> Rollout:
    if not rollout.killed:
        raise IllegalTransition(rollout, event, "it is not killed")
    return replace(rollout, killed=False)


def new_student(rollout: Rollout, event: Event) -> Rollout:
    assert isinstance(event, NewStudent)
    changed = replace(rollout, student=event.student, epoch=event.epoch, ladder=event.ladder)
    return _new_attempt(changed, salt=event.salt)


def new_epoch(rollout: Rollout, event: Event) -> Rollout:
    """The share stays; the evidence for going further starts anew, and `epoch` holds until it reaches the rung."""
    assert isinstance(event, NewEpoch)
    changed = replace(rollout, epoch=event.epoch, ladder=event.ladder, waived_by=None)
    changed = _restart(changed, "evidence", "fresh", "hold", "down", "back")
    if rollout.phase in (Phase.PENDING, Phase.ROLLED_BACK, Phase.MANUAL):
        return changed
    rung = event.ladder.rung_at_or_below(rollout.share_bp)
    holds = rollout.holds - {FUTILITY} | ({EPOCH} if rung > 0 else frozenset())
    return _settled(replace(changed, rung=rung, share_bp=event.ladder.share_bp(rung), holds=holds))


def change_mode(rollout: Rollout, event: Event) -> Rollout:
    assert isinstance(event, ChangeMode)
    changed = replace(rollout, mode=event.mode, initial_bp=event.share_bp, holds=frozenset())
    if event.mode is Mode.FIXED:
        return replace(changed, phase=Phase.MANUAL, share_bp=event.share_bp)
    return _restart(_at_rung(changed, 0), "fresh")


def _at_rung(rollout: Rollout, rung: int) -> Rollout:
    return _settled(replace(rollout, phase=Phase.SHADOW, rung=rung, share_bp=rollout.ladder.share_bp(rung)))


def _settled(rollout: Rollout) -> Rollout:
    """The phase that a gated rollout shows for its rung and holds."""
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


def _new_attempt(rollout: Rollout, *, salt: str) -> Rollout:
    fresh = _restart(rollout, "evidence", "fresh", "hold", "down", "back")
    fresh = replace(
        fresh, attempt=rollout.attempt + 1, alpha_index=rollout.alpha_index + 1, salt=salt, holds=frozenset(), waived_by=None
    )
    if rollout.mode is Mode.FIXED:
        return replace(fresh, phase=Phase.MANUAL, share_bp=rollout.initial_bp)
    return _at_rung(fresh, 0)


# --- the table --------------------------------------------------------------------------------------------------------

_EVERY = tuple(Phase)
_GATED = (Phase.SHADOW, Phase.RAMPING, Phase.HELD, Phase.COMPLETE)
_BEGUN = (*_GATED, Phase.ROLLED_BACK, Phase.MANUAL)

_ROWS: tuple[tuple[type[Event], tuple[Phase, ...], Rule], ...] = (
    (Begin, (Phase.PENDING,), begin),
    (Advance, (Phase.SHADOW, Phase.RAMPING), advance),
    (StepDown, (Phase.RAMPING, Phase.HELD, Phase.COMPLETE), step_down),
    (RollBack, _GATED, roll_back),
    (Hold, _GATED, hold),
    (Release, (Phase.HELD,), release),
    (Pause, _GATED, pause),
    (Resume, (Phase.HELD,), resume_held),
    (Resume, (Phase.MANUAL,), resume_manual),
    (Resume, (Phase.ROLLED_BACK,), resume_rolled_back),
    (Promote, (Phase.SHADOW, Phase.RAMPING, Phase.HELD), promote),
    (Rollback, (*_GATED, Phase.MANUAL), roll_back),
    (SetShare, _BEGUN, set_share),
    (Kill, _EVERY, kill),
    (Clear, _EVERY, clear),
    (NewStudent, _EVERY, new_student),
    (NewEpoch, _EVERY, new_epoch),
    (ChangeMode, _BEGUN, change_mode),
)
TRANSITIONS: dict[tuple[Phase, type[Event]], Rule] = {(phase, event): rule for event, phases, rule in _ROWS for phase in phases}

_PAGING = (RollBack, StepDown)


def step(rollout: Rollout, event: Event) -> tuple[Rollout, tuple[Effect, ...]]:
    """Advance the rollout by one event. Raises IllegalTransition, and changes nothing, if the event does not apply."""
    rule = TRANSITIONS.get((rollout.phase, type(event)))
    if rule is None:
        raise IllegalTransition(rollout, event, "no rule for it in this phase")
    after = replace(rule(rollout, event), revision=rollout.revision + 1)
    if after.share_in_force_bp != rollout.share_in_force_bp:
        after = replace(after, entered_at=event.at)
    return after, ((Effect.PAGE,) if isinstance(event, _PAGING) else ())
