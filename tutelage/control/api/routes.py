"""Routes and their rollouts: show, explain, and the operator's verbs.

Owns the translation between HTTP and verbs. Which event a verb is, is `tutelage.control.verbs`'s, what it does
`router.rollout`'s, what a gate says `tutelage.control.gates`'s. share, pause, resume, promote and rollback take `If-Match:
REVISION`: who moves a rollout says what they saw. kill and clear do not: in an emergency nobody reads first.
"""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import BadRequest, of_status
from router.types import FULL_BP
from tutelage.contracts.errors import UnknownName
from tutelage.contracts.keys import Key
from tutelage.contracts.parts import family
from tutelage.contracts.records import Json
from tutelage.contracts.routes import RouteSettings
from tutelage.contracts.snapshot import Snapshot
from tutelage.control import gates, replay, verbs
from tutelage.control.api.access import Admin, AtDesk
from tutelage.control.desk import Desk
from tutelage.control.shown import economics_document, rollout_document
from tutelage.control.whole import whole_document
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
    written = snapshot.config.settings["routes"]
    settings = written[name]
    routes = {each: RouteSettings.model_validate(written[each]) for each in family(written, name)}
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
        "economics": economics_document(routes[name], store.spending(name)),
        "whole": whole_document(store, routes, name),
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


@router.put("/{name}/share")
async def set_share(name: str, verb: ShareVerb, admin: Admin, desk: AtDesk, if_match: IfMatch = None) -> Json:
    """Set the student's share by hand: MANUAL until `resume`."""
    return await _act(desk, admin, name, verb.reason, verb=verbs.split(verb.student_bp), expected=revision(if_match))


@router.post("/{name}/{verb_name}")
async def act(
    *, name: str, verb_name: str, admin: Admin, desk: AtDesk, verb: Verb | None = None, if_match: IfMatch = None
) -> Json:
    """pause, resume, promote, rollback (with If-Match), kill and clear (without)."""
    reason = "" if verb is None else verb.reason
    asked = verbs.VERBS.get(verb_name)
    if asked is None:
        raise UnknownName(
            f"no verb {verb_name[:64]!r} for a route; there are {', '.join(verbs.VERBS)}, and PUT …/share"
        )
    expected = None if verb_name in verbs.UNGUARDED else revision(if_match)
    return await _act(desk, admin, name, reason, verb=asked, expected=expected)


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


async def _act(desk: Desk, admin: Key, name: str, reason: str, *, verb: verbs.Verb, expected: int | None) -> Json:
    who = {"at": desk.clock(), "actor": admin.id, "reason": reason or "no reason given"}

    def write(store: Store) -> Json:
        names = family(known_route(store, name).config.settings["routes"], name)
        if store.rollout(name) is None:
            raise UnknownName(f"route {name!r} has no student: there is nothing to split or to roll out")
        return verbs.moved_document(verbs.move(store, names, verb, who, expected_revision=expected, new_id=desk.new_id))

    return await desk.ask(write)
