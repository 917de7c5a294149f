"""Where routes stand, from the command line: `status`, `explain`, `history`.

They read the store directly, with or without a running server. Owns what is read for whom; the wording is `shown`'s. To add a
command: a function, and its line in COMMANDS. What moves a route is in `verbs`.
"""

import time
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer

from router.rollout import Rollout
from router.types import Mode
from tutelage.cli import shown
from tutelage.cli.history import history
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer
from tutelage.cli.stores import kill_file, known, opened, standing
from tutelage.contracts.parts import family, parts_of, whole_of
from tutelage.contracts.records import Json
from tutelage.contracts.settings import Settings
from tutelage.control.declaration import version_of
from tutelage.control.shown import economics_document, family_document, rollout_document
from tutelage.control.whole import whole_document
from tutelage.store.base import Store

Route = Annotated[str, typer.Argument(metavar="ROUTE[:VALUE]", show_default=False)]
_LOOK_BACK = 1000
"""How many decisions `explain` looks through for the last move."""


def register(app: typer.Typer) -> None:
    for name, command in COMMANDS.items():
        app.command(name)(command)


def status(
    route: Annotated[str | None, typer.Argument(metavar="[ROUTE]", show_default=False)] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show where each route stands, or one with its parts and what they come to together: phase, share, holds, queue, savings,
    where the configuration says otherwise.
    """
    with opened(config) as (settings, store):
        names = sorted(settings.routes) if route is None else family(settings.routes, known(settings, route))
        found = [_status(settings, store, name) for name in names]
    words = "\n".join(line for _, line in found) or "no routes"
    documents = [document for document, _ in found]
    answer({"routes": documents} if route is None else family_document(documents), words, as_json=as_json)


def explain(route: Route, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Say why the share is what it is: the last move with its numbers, the last refusal, and what the gate sees now."""
    with opened(config) as (settings, store):
        rollout = standing(settings, store, route)
        decisions = store.history(route, _LOOK_BACK)
        gate = _gate(store, route)
        money = economics_document(settings.routes[route], store.spending(route))
        named = parts_of(settings.routes, route).values()
        parts = [found for part in named if (found := store.rollout(part)) is not None]
        whole = whole_document(store, settings.routes, route)
    last = decisions[0] if decisions else None
    move = next((row for row in decisions if row.revision_to != row.revision_from), None)
    lines = [shown.rollout_words(rollout)]
    if parts:
        lines.append(f"this is the rest; by themselves: {'; '.join(map(shown.rollout_words, parts))}")
    if whole is not None:
        lines.append(shown.whole_words(route, whole))
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
        "whole": whole,
    }
    answer(document, "\n".join(lines), as_json=as_json)


def _status(settings: Settings, store: Store, name: str) -> tuple[dict[str, Json], str]:
    rollout = store.rollout(name)
    route = settings.routes[name]
    training_use = settings.upstreams[route.teacher].training_use
    killed_here = any(kill_file(settings, killed).exists() for killed in (name, whole_of(name)))
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
        "whole": (whole := whole_document(store, settings.routes, name)),
    }
    words = f"{name}: no rollout yet" if rollout is None else shown.rollout_words(rollout)
    if route.student is None:
        words = f"{name}: {route.teacher} serves everything"
    words += f"; {depth.waiting} pairs wait, {depth.scored} scored"
    words += f"; {shown.saving_words(money)}" if money["days"] else ""
    words += f"; training on {route.teacher}'s answers: {training_use}" if route.capture.content == "full" else ""
    words += "".join(f"; ALARM, {watch}: {reason}" for watch, reason in alarms.items())
    words += "; KILLED on this host by its kill file" if killed_here else ""
    words += f"; drift: {drift}" if drift else ""
    return document, words if whole is None else f"{shown.whole_words(name, whole)}\n{words}"


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


COMMANDS: dict[str, Callable[..., None]] = {"status": status, "explain": explain, "history": history}
