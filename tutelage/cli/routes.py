"""Routes from the command line: `status`, `explain`, `history`, and the operator's verbs.

They act on the store directly, with or without a running server; gateways follow within a second. Owns the way from
words to events. What an event does is `router.rollout`'s. To add a verb: a function, and its line in VERBS.

`kill` works without a store: it leaves `data_dir/kill/ROUTE`, which the gateways on this host obey until `clear`.
"""

import getpass
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from router.events import Clear, Event, Kill, Pause, Promote, Resume, Rollback, SetShare
from router.rollout import IllegalTransition, Rollout
from router.types import FULL_BP, Mode
from tutelage.cli import shown
from tutelage.cli.history import history
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer
from tutelage.cli.stores import known, opened
from tutelage.contracts.errors import StoreUnavailable, TutelageError, UnknownName
from tutelage.contracts.ids import uuid7
from tutelage.contracts.load import load
from tutelage.contracts.parts import family, parts_of, whole_of
from tutelage.contracts.records import Json
from tutelage.contracts.settings import Settings
from tutelage.control.declaration import version_of
from tutelage.control.shown import economics_document, family_document, rollout_document
from tutelage.store.apply import Applied, apply, apply_to_all
from tutelage.store.base import Store

Route = Annotated[str, typer.Argument(metavar="ROUTE", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history.")]
Revision = Annotated[int | None, typer.Option("--revision", help="Refuse unless the rollout is at this revision.")]
NO_REASON = "no reason given"
_LOOK_BACK = 1000
"""How many decisions `explain` looks through for the last move."""
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s*%?")


def register(app: typer.Typer) -> None:
    for name, command in VERBS.items():
        app.command(name)(command)


# --- reading ----------------------------------------------------------------------------------------------------------


def status(
    route: Annotated[str | None, typer.Argument(metavar="[ROUTE]", show_default=False)] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show where each route stands, or one with its parts: phase, share, holds, queue, where the configuration says otherwise."""
    with opened(config) as (settings, store):
        names = sorted(settings.routes) if route is None else family(settings.routes, known(settings, route))
        found = [_status(settings, store, name) for name in names]
    words = "\n".join(line for _, line in found) or "no routes"
    documents = [document for document, _ in found]
    answer({"routes": documents} if route is None else family_document(documents), words, as_json=as_json)


def explain(route: Route, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Say why the share is what it is: the last move with its numbers, the last refusal, and what the gate sees now."""
    with opened(config) as (settings, store):
        rollout = _rollout(settings, store, route)
        decisions = store.history(route, _LOOK_BACK)
        gate = _gate(store, route)
        money = economics_document(settings.routes[route], store.spending(route))
        named = parts_of(settings.routes, route).values()
        parts = [found for part in named if (found := store.rollout(part)) is not None]
    last = decisions[0] if decisions else None
    move = next((row for row in decisions if row.revision_to != row.revision_from), None)
    lines = [shown.rollout_words(rollout)]
    if parts:
        lines.append(f"this is the rest; by themselves: {'; '.join(map(shown.rollout_words, parts))}")
    if move is not None:
        lines += [f"last move: {shown.decision_words(move)}", *shown.evidence_words(move)]
    if last is not None and last is not move:
        lines.append(f"last refusal: {shown.decision_words(last)}")
    lines += ["no gate reads this route"] if gate is None else shown.gate_words(gate)
    lines += shown.economics_words(money)
    document = {
        **rollout_document(rollout),
        "move": msgspec.to_builtins(move),
        "decision": msgspec.to_builtins(last),
        "gates": gate,
        "economics": money,
        "parts": {part.route: part.share_in_force_bp for part in parts},
    }
    answer(document, "\n".join(lines), as_json=as_json)


def _status(settings: Settings, store: Store, name: str) -> tuple[dict[str, Json], str]:
    rollout = store.rollout(name)
    route = settings.routes[name]
    training_use = settings.upstreams[route.teacher].training_use
    killed_here = any(_kill_file(settings, killed).exists() for killed in (name, whole_of(name)))
    drift = _drift(settings, name, rollout)
    depth = store.depth(name)
    document = {
        **({"route": name} if rollout is None else rollout_document(rollout)),
        "kill_file": killed_here,
        "drift": drift,
        "alarms": (alarms := {} if (seen := store.signals(name)) is None else seen.alarms),
        "training_use": training_use,
        "queue": shown.queue_document(depth),
        "economics": (money := economics_document(route, store.spending(name))),
    }
    words = f"{name}: no rollout yet" if rollout is None else shown.rollout_words(rollout)
    if route.student is None:
        words = f"{name}: {route.teacher} serves everything"
    words += f"; {depth.waiting} pairs wait, {depth.scored} scored"
    words += f"; {shown.saving_words(money)}" if money["days"] else ""
    words += f"; training on {route.teacher}'s answers: {training_use}" if route.capture.content == "full" else ""
    words += "".join(f"; ALARM, {watch}: {reason}" for watch, reason in alarms.items())
    words += "; KILLED on this host by its kill file" if killed_here else ""
    return document, words + (f"; drift: {drift}" if drift else "")


def _drift(settings: Settings, name: str, rollout: Rollout | None) -> str | None:
    """What the configuration says otherwise than what is in force. Its share is an initial value: the store wins."""
    route = settings.routes[name]
    if rollout is None or route.student is None:
        return None
    declared = version_of(route.student, settings.upstreams[route.student])
    if rollout.student != declared:
        return f"the configuration declares student {declared}, in force is {rollout.student}"
    if route.share is not None and route.share != rollout.share_bp:
        return f"the configuration says {shown.percent(route.share)}, in force is {shown.percent(rollout.share_bp)}"
    return None


def _gate(store: Store, route: str) -> dict[str, Json] | None:
    """What the gate sees now, by the functions that decide; None where no gate reads the route."""
    from tutelage.control import gates

    snapshot = store.snapshot()
    if snapshot is None or route not in snapshot.epochs or snapshot.rollouts[route].mode is not Mode.GATED:
        return None
    document: dict[str, Json] = gates.document(gates.look(store, snapshot, route, time.time()))
    return document


# --- moving -----------------------------------------------------------------------------------------------------------

Who = dict[str, Any]
"""at, actor and reason of an event."""


def split(
    *,
    route: Route,
    percent: Annotated[str, typer.Argument(metavar="PERCENT", help="The student's share, e.g. 10 or 2.5%.")],
    reason: Reason = NO_REASON,
    revision: Revision = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Set the student's share by hand; evidence moves it again after `resume`."""
    share_bp = share_of(percent)
    _move(config, route, revision, reason, as_json, make=lambda _, who: SetShare(**who, share_bp=share_bp))


def pause(
    *,
    route: Route,
    reason: Reason = NO_REASON,
    revision: Revision = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Stop automatic promotion; step-down and rollback still act."""
    _move(config, route, revision, reason, as_json, make=lambda _, who: Pause(**who))


def resume(
    *,
    route: Route,
    reason: Reason = NO_REASON,
    revision: Revision = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Go on after pause, split or rollback. After a rollback this opens a new attempt."""
    _move(config, route, revision, reason, as_json, make=lambda _, who: Resume(**who, salt=os.urandom(8).hex()))


def promote(
    *,
    route: Route,
    reason: Reason = NO_REASON,
    revision: Revision = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """One rung up. Where evidence has not passed yet, the guarantee is waived in your name."""
    _move(config, route, revision, reason, as_json, make=_promotion(route))


def rollback(
    *,
    route: Route,
    reason: Reason = NO_REASON,
    revision: Revision = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Back to shadow now; `resume` opens a new attempt."""
    _move(config, route, revision, reason, as_json, make=lambda _, who: Rollback(**who))


def kill(*, route: Route, reason: Reason = NO_REASON, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """The student serves nothing, at once, until `clear`: of a route and all of its parts. Works without the store."""
    try:
        _move_all(config, route, reason, as_json, Kill)
    except StoreUnavailable as fault:
        path = _kill_file(load(config), route)
        _leave(path, f"{_actor()}: {reason}\n")
        words = f"the store is out of reach ({fault}); wrote {path}: gateways on this host obey it until `clear`"
        answer({"route": route, "killed": True, "kill_file": str(path), "store": str(fault)}, words, as_json=as_json)


def clear(
    *, route: Route, reason: Reason = NO_REASON, config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Take a kill back, of a route and all of its parts: in the store, and the kill files of this host."""
    settings = load(config)
    paths = [path for name in family(settings.routes, route) if (path := _kill_file(settings, name)).exists()]
    removed = ", ".join(map(str, paths))
    for path in paths:
        path.unlink(missing_ok=True)
    try:
        _move_all(config, route, reason, as_json, Clear)
    except StoreUnavailable as fault:
        done = f"removed {removed}; " if removed else ""
        raise StoreUnavailable(f"{done}a kill in the store, if there is one, still stands: {fault}") from fault
    except IllegalTransition:
        if not removed:
            raise
        answer({"route": route, "killed": False, "kill_file": None}, f"{route}: removed {removed}", as_json=as_json)


Make = Callable[[Store, Who], Event]


def _move(config: Path, route: str, revision: int | None, reason: str, as_json: bool, *, make: Make) -> None:
    with opened(config) as (settings, store):
        rollout = _rollout(settings, store, route)
        event = make(store, {"at": time.time(), "actor": _actor(), "reason": reason})
        applied = apply(store, rollout.route, event, expected_revision=revision, new_id=uuid7)
    answer(rollout_document(applied.rollout), _moved_words(applied, event), as_json=as_json)


def _move_all(config: Path, route: str, reason: str, as_json: bool, event: type[Event]) -> None:
    """Move a route with all of its parts, or a part alone."""
    with opened(config) as (settings, store):
        _rollout(settings, store, route)
        made = event(at=time.time(), actor=_actor(), reason=reason)
        moved = apply_to_all(store, family(settings.routes, route), made, new_id=uuid7)
    documents = [rollout_document(applied.rollout) for applied in moved]
    answer(family_document(documents), "\n".join(_moved_words(one, made) for one in moved), as_json=as_json)


def _moved_words(applied: Applied, event: Event) -> str:
    waived = isinstance(event, Promote) and event.waived
    note = "\nnot every required cell has passed: the guarantee is waived in your name" if waived else ""
    return shown.rollout_words(applied.rollout) + note


def _promotion(route: str) -> Make:
    def make(store: Store, who: Who) -> Event:
        gate = _gate(store, route)
        return Promote(**who, waived=gate is None or not gate["proven"])

    return make


# --- what they share --------------------------------------------------------------------------------------------------


def share_of(text: str) -> int:
    """`10`, `2.5` or `2.5%` in basis points. Raises a usage error for anything else."""
    match = _PERCENT.fullmatch(text.strip())
    share_bp = round(float(match[1]) * 100) if match else -1
    if not 0 <= share_bp <= FULL_BP:
        raise typer.BadParameter(f"{text!r} is not a share: write it in percent, 0 to 100, at most two decimals")
    return share_bp


def _rollout(settings: Settings, store: Store, route: str) -> Rollout:
    rollout = store.rollout(known(settings, route))
    if rollout is None:
        why = "has no student" if settings.routes[route].student is None else "is not published yet: start control once"
        raise UnknownName(f"route {route!r} {why}")
    return rollout


def _kill_file(settings: Settings, route: str) -> Path:
    return Path(settings.data_dir) / "kill" / known(settings, route)


def _leave(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise TutelageError(f"{path}: {fault.strerror}: neither store nor kill file can be written") from fault


def _actor() -> str:
    """Who runs the command; a container may know no name for its user."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return f"cli:uid-{os.getuid()}"


VERBS: dict[str, Callable[..., None]] = {
    "status": status,
    "split": split,
    "pause": pause,
    "resume": resume,
    "promote": promote,
    "rollback": rollback,
    "kill": kill,
    "clear": clear,
    "explain": explain,
    "history": history,
}
