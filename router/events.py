"""The events: everything that can happen to a rollout.

Each says who did it, when and why, and carries what its rule needs and no more. What an event does in a phase is the
table in `router.rollout`. To add one: a class here, a rule and a line of the table there.
"""

from dataclasses import dataclass

from router.stages import Ladder
from router.types import Mode


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
class NewSuccessor(Event):
    """Configuration: another student version, to be measured beside the one that serves."""

    student: str
    epoch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeed(Event):
    """The successor's evidence has reached the rung on which the serving student stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismiss(Event):
    """The successor cannot pass, does harm, or is declared no longer."""


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
