"""Routes and their rollouts: show, explain, and the operator's verbs.

Owns the translation between HTTP and events. What an event does is `router.rollout`'s, what a gate says
`tutelage.control.gates`'s. share, pause, resume, promote and rollback take `If-Match: REVISION`: who moves a
rollout says what they saw. kill and clear do not: in an emergency nobody reads first.
"""

import os
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import BadRequest, of_status
from router.events import Clear, Event, Kill, Pause, Promote, Resume, Rollback, SetShare, Succeed
from router.rollout import Rollout
from router.types import FULL_BP
from tutelage.contracts.errors import StaleRevision, UnknownName
from tutelage.contracts.keys import Key
from tutelage.contracts.parts import family
from tutelage.contracts.records import Json
from tutelage.contracts.routes import RouteSettings
from tutelage.contracts.snapshot import Snapshot
from tutelage.control import gates, replay
from tutelage.control.api.access import Admin, AtDesk
from tutelage.control.desk import Desk
from tutelage.control.shown import economics_document, family_document, rollout_document
from tutelage.store import apply as writes
from tutelage.store.base import Store

router = APIRouter(prefix="/admin/routes")

IfMatch = Annotated[str | None, Header(alias="If-Match")]


class Verb(BaseModel):
    """Every act has a reason; it stands in the history."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=2000)


class ShareVerb(Verb):
    """The student's share, set by hand, in basis points."""

    student_bp: int = Field(ge=0, le=FULL_BP, strict=True)


# --- reading ----------------------------------------------------------------------------------------------------------


@router.get("")
async def list_routes(_: Admin, desk: AtDesk) -> Json:
    """Every route of the published configuration."""
    now = desk.clock()

    def read(store: Store) -> list[Json]:
        snapshot = published(store)
        return [_route(store, snapshot, name, now) for name in sorted(snapshot.config.settings["routes"])]

    return {"routes": await desk.ask(read)}


@router.get("/{name}")
async def show_route(name: str, _: Admin, desk: AtDesk) -> Json:
    """One route: its arms, where its rollout stands, its queue."""
    now = desk.clock()
    return await desk.ask(lambda store: _route(store, known_route(store, name), name, now))


@router.get("/{name}/gates")
async def show_gates(name: str, _: Admin, desk: AtDesk) -> Json:
    """What the gate sees now: evidence against thresholds, and what blocks the next rung, in words."""
    now = desk.clock()
    return await desk.ask(lambda store: gates.document(gates.look(store, known_route(store, name), name, now)))


@router.get("/{name}/history")
async def show_history(
    *,
    name: str,
    _: Admin,
    desk: AtDesk,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    replayed: Annotated[bool, Query(alias="replay")] = False,
) -> Json:
    """Decisions, newest first: every move and every refusal, with the evidence that it was made on. With `replay=true`
    each is decided again from pairs and scores, all of which are read.
    """

    def read(store: Store) -> Json:
        settings = known_route(store, name).config.settings["routes"][name]
        document: dict[str, Json] = {"route": name, "decisions": msgspec.to_builtins(list(store.history(name, limit)))}
        if replayed:
            analyses = RouteSettings.model_validate(settings).slices.analysis
            document["replay"] = replay.document(replay.replay(store, name, analyses))
        return document

    return await (desk.study(read) if replayed else desk.ask(read))


def published(store: Store) -> Snapshot:
    """The snapshot in force. Raises UnknownName before the first publication."""
    snapshot = store.snapshot()
    if snapshot is None:
        raise UnknownName("nothing is published yet: is a control process running with this configuration?")
    return snapshot


def known_route(store: Store, name: str) -> Snapshot:
    """The snapshot in force, where it has a route of that name. Raises UnknownName naming what there is."""
    snapshot = published(store)
    names = snapshot.config.settings["routes"]
    if name not in names:
        raise UnknownName(f"no route {name[:128]!r}; there are {', '.join(sorted(names)) or 'none'}")
    return snapshot


def _route(store: Store, snapshot: Snapshot, name: str, now: float) -> Json:
    settings = snapshot.config.settings["routes"][name]
    rollout = snapshot.rollouts.get(name) if settings.get("student") else None
    depth = store.depth(name)
    oldest = depth.oldest_admitted_at
    return {
        "route": name,
        "teacher": _arm(snapshot, settings["teacher"]),
        "student": None if settings.get("student") is None else _arm(snapshot, settings["student"]),
        **(_NO_ROLLOUT if rollout is None else rollout_document(rollout)),
        "queue": {
            "waiting": depth.waiting,
            "scored": depth.scored,
            "oldest_s": None if oldest is None else round(max(0.0, now - oldest), 3),
        },
        "exclusions": dict(depth.by_exclusion),
        "alarms": {} if (seen := store.signals(name)) is None else seen.alarms,
        "economics": economics_document(RouteSettings.model_validate(settings), store.spending(name)),
        "sampling": msgspec.to_builtins(snapshot.samplings.get(name)),
        "snapshot": {
            "generation": snapshot.generation,
            "sequence": snapshot.sequence,
            "digest": snapshot.config.digest,
        },
    }


_NO_ROLLOUT: dict[str, Json] = {
    "student_version": None,
    "mode": None,
    "phase": None,
    "share_bp": 0,
    "share_in_force_bp": 0,
    "killed": False,
    "rung": None,
    "stages": [],
    "holds": [],
    "revision": None,
    "attempt": None,
    "epoch": None,
}


def _arm(snapshot: Snapshot, upstream: str) -> Json:
    settings = snapshot.config.settings["upstreams"][upstream]
    return {"upstream": upstream, "version": settings["version"], "training_use": settings["training_use"]}


# --- verbs ------------------------------------------------------------------------------------------------------------

Make = Callable[[Store, Rollout, dict[str, Any]], Event]
"""Makes an event of the store, the rollout as it stands, and {at, actor, reason}."""


def _plain(event: type[Event]) -> Make:
    return lambda store, rollout, who: event(**who)


def _resume(store: Store, rollout: Rollout, who: dict[str, Any]) -> Event:
    return Resume(**who, salt=os.urandom(8).hex())


def _promote(store: Store, rollout: Rollout, who: dict[str, Any]) -> Event:
    """The next rung; first the succession, where a successor has earned it and only waits for a person's word."""
    look = gates.look(store, published(store), rollout.route, who["at"])
    if look.beside is not None and look.beside.proven:
        return Succeed(**who)
    return Promote(**who, waived=not look.proven)


GUARDED: dict[str, Make] = {
    "pause": _plain(Pause),
    "resume": _resume,
    "promote": _promote,
    "rollback": _plain(Rollback),
}
UNGUARDED: dict[str, type[Event]] = {"kill": Kill, "clear": Clear}


@router.put("/{name}/share")
async def set_share(name: str, verb: ShareVerb, admin: Admin, desk: AtDesk, if_match: IfMatch = None) -> Json:
    """Set the student's share by hand: MANUAL until `resume`."""

    def make(store: Store, rollout: Rollout, who: dict[str, Any]) -> Event:
        return SetShare(**who, share_bp=verb.student_bp)

    return await _act(desk, admin, name, verb.reason, make=make, expected=revision(if_match))


@router.post("/{name}/{verb_name}")
async def act(
    *, name: str, verb_name: str, admin: Admin, desk: AtDesk, verb: Verb | None = None, if_match: IfMatch = None
) -> Json:
    """pause, resume, promote, rollback (with If-Match), kill and clear (without; with all parts of a route)."""
    reason = "" if verb is None else verb.reason
    if verb_name in UNGUARDED:
        return await _act_on_all(desk, admin, name, reason, UNGUARDED[verb_name])
    if verb_name not in GUARDED:
        verbs = ", ".join((*GUARDED, *UNGUARDED))
        raise UnknownName(f"no verb {verb_name[:64]!r} for a route; there are {verbs}, and PUT …/share")
    return await _act(desk, admin, name, reason, make=GUARDED[verb_name], expected=revision(if_match))


def revision(if_match: str | None) -> int:
    """The revision in `If-Match`, quoted or bare. 428 where it is missing, 400 where it is no number."""
    if if_match is None:
        refusal = of_status(428, "Send the revision that you have seen as `If-Match: REVISION` (GET the route first).")
        refusal.code = "revision_required"
        raise refusal
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(f"If-Match must be a revision such as 12, not {if_match[:64]!r}.", code="bad_revision")
    return int(text)


async def _act(desk: Desk, admin: Key, name: str, reason: str, *, make: Make, expected: int) -> Json:
    who = _who(desk, admin, reason)

    def write(store: Store) -> Json:
        rollout = _with_student(store, name)
        event = make(store, rollout, who)
        if expected != rollout.revision:
            raise StaleRevision(rollout.route, expected, rollout.revision)
        applied = writes.apply(store, rollout.route, event, expected_revision=expected, new_id=desk.new_id)
        return rollout_document(applied.rollout)

    return await desk.ask(write)


async def _act_on_all(desk: Desk, admin: Key, name: str, reason: str, event: type[Event]) -> Json:
    """In an emergency a route is meant with all of its parts, whatever their revisions."""
    who = _who(desk, admin, reason)

    def write(store: Store) -> Json:
        _with_student(store, name)
        names = family(known_route(store, name).config.settings["routes"], name)
        moved = writes.apply_to_all(store, names, event(**who), new_id=desk.new_id)
        return family_document([rollout_document(applied.rollout) for applied in moved])

    return await desk.ask(write)


def _who(desk: Desk, admin: Key, reason: str) -> dict[str, Any]:
    return {"at": desk.clock(), "actor": admin.id, "reason": reason or "no reason given"}


def _with_student(store: Store, name: str) -> Rollout:
    known_route(store, name)
    rollout = store.rollout(name)
    if rollout is None:
        raise UnknownName(f"route {name!r} has no student: there is nothing to split or to roll out")
    return rollout
