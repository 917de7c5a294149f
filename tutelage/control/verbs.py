"""What an operator's verb is: its event, and which parts of a carved route it moves with the rest.

| verb | moves beside what is named |
|---|---|
| pause, rollback, kill | every part: whoever stops something in an emergency means the route |
| clear | every part |
| resume | the parts that are paused, and those that stand in the phase that the rest stands in |
| promote, split | none: a share rises part by part, on its own evidence or by its own name |

A part that is named is moved alone. Each move is one by itself, with its own revision, decision and audit row; what does not
apply to one part does not keep the others from it. Owns the table. Knows not HTTP or terminals; what an event does is
`router.rollout`'s. To add a verb: its line in VERBS.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from router.events import Clear, Event, Kill, Pause, Promote, Resume, Rollback, SetShare, Succeed
from router.rollout import OPERATOR, IllegalTransition, Phase, Rollout
from router.types import Mode
from tutelage.contracts.errors import UnknownName
from tutelage.contracts.records import Json
from tutelage.control.shown import family_document, rollout_document
from tutelage.store.apply import apply
from tutelage.store.base import Store

Who = Mapping[str, Any]
"""at, actor and reason of an event."""
Make = Callable[[Store, Rollout, Who], Event]
Reach = Callable[[Rollout, Rollout], bool]
"""Whether a verb that names the first, the rest of a route, moves the second as well, a part of it."""

BY_NAME = "it is moved by its own name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """How the event is made, of the store and the rollout as it stands, and how far it reaches."""

    make: Make
    reaches: Reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A rollout as it stands now. Where nothing moved it `event` is None, and `why` says why."""

    rollout: Rollout
    event: Event | None = None
    why: str = ""


def move(
    store: Store,
    names: Iterable[str],
    verb: Verb,
    who: Who,
    *,
    expected_revision: int | None,
    new_id: Callable[[float], str],
) -> tuple[Moved, ...]:
    """Move the first of `names`, at the revision that is expected of it, and with it the others as far as the verb reaches.

    Raises UnknownName where the first has no rollout, StaleRevision before anything has moved, and IllegalTransition where
    the verb applies to none.
    """
    found = [rollout for name in names if (rollout := store.rollout(name)) is not None]
    if not found:
        raise UnknownName("the route has no rollout: it has no student, or is not published yet")
    named = found[0]
    reached = [named, *(part for part in found[1:] if verb.reaches(named, part))]
    moved: dict[str, Moved] = {}
    refused: IllegalTransition | None = None
    for rollout in reached:
        expected = expected_revision if rollout is named else None
        try:
            event = verb.make(store, rollout, who)
            applied = apply(store, rollout.route, event, expected_revision=expected, new_id=new_id)
            moved[rollout.route] = Moved(rollout=applied.rollout, event=event)
        except IllegalTransition as fault:
            refused = refused or fault
            moved[rollout.route] = Moved(rollout=rollout, why=str(fault))
    if refused is not None and all(one.event is None for one in moved.values()):
        raise refused
    return tuple(moved.get(rollout.route, Moved(rollout=rollout, why=BY_NAME)) for rollout in found)


def moved_document(moved: Iterable[Moved]) -> dict[str, Json]:
    """The rollout that was named, as it stands now, with its route's parts; `unmoved` says why where one was not moved."""
    return family_document(
        [rollout_document(one.rollout) | ({"unmoved": one.why} if one.event is None else {}) for one in moved]
    )


# --- how far ----------------------------------------------------------------------------------------------------------


def _alone(named: Rollout, part: Rollout) -> bool:
    return False


def _with_every_part(named: Rollout, part: Rollout) -> bool:
    return True


def _with_its_like(named: Rollout, part: Rollout) -> bool:
    """A pause is taken back wherever it stands; a rollback or a share by hand only with the rest's own."""
    paused = part.phase is Phase.HELD and OPERATOR in part.holds
    return paused or part.phase is named.phase


# --- the events -------------------------------------------------------------------------------------------------------


def _plain(event: type[Event]) -> Make:
    return lambda store, rollout, who: event(**who)


def _resume(store: Store, rollout: Rollout, who: Who) -> Event:
    return Resume(**who, salt=os.urandom(8).hex())


def _promote(store: Store, rollout: Rollout, who: Who) -> Event:
    """The next rung; first the succession, where a successor has earned it and only waits for a person's word."""
    from tutelage.control import gates  # numpy: other verbs go without

    snapshot = store.snapshot()
    if rollout.mode is not Mode.GATED or snapshot is None or rollout.route not in snapshot.epochs:
        return Promote(**who, waived=True)
    seen = gates.look(store, snapshot, rollout.route, who["at"])
    if seen.beside is not None and seen.beside.proven:
        return Succeed(**who)
    return Promote(**who, waived=not seen.proven)


def split(share_bp: int) -> Verb:
    """The share by hand."""
    return Verb(make=lambda store, rollout, who: SetShare(**who, share_bp=share_bp), reaches=_alone)


VERBS: dict[str, Verb] = {
    "pause": Verb(make=_plain(Pause), reaches=_with_every_part),
    "resume": Verb(make=_resume, reaches=_with_its_like),
    "promote": Verb(make=_promote, reaches=_alone),
    "rollback": Verb(make=_plain(Rollback), reaches=_with_every_part),
    "kill": Verb(make=_plain(Kill), reaches=_with_every_part),
    "clear": Verb(make=_plain(Clear), reaches=_with_every_part),
}
"""The others, by name."""
UNGUARDED = ("kill", "clear")
"""Asked for without a revision: in an emergency nobody reads first."""
