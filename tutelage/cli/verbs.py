"""The operator's verbs from the command line: `split`, `pause`, `resume`, `promote`, `rollback`, `kill`, `clear`.

They act on the store directly, with or without a running server; gateways follow within a second. Owns the way from words to
verbs. Which event a verb is and how far it reaches is `tutelage.control.verbs`'s, what an event does `router.rollout`'s. To add
a verb: its line there, and its line in COMMANDS.

`kill` works without a store: it leaves `data_dir/kill/ROUTE`, which the gateways on this host obey until `clear`.
"""

import getpass
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from router.events import Promote
from router.rollout import IllegalTransition
from router.types import FULL_BP
from tutelage.cli import shown
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer
from tutelage.cli.stores import kill_file, opened, standing
from tutelage.contracts.errors import StoreUnavailable, TutelageError
from tutelage.contracts.ids import uuid7
from tutelage.contracts.load import load
from tutelage.contracts.parts import family
from tutelage.control import verbs
from tutelage.control.verbs import Moved, Verb

Route = Annotated[str, typer.Argument(metavar="ROUTE[:VALUE]", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history.")]
Revision = Annotated[int | None, typer.Option("--revision", help="Refuse unless the rollout is at this revision.")]
NO_REASON = "no reason given"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s*%?")


def register(app: typer.Typer) -> None:
    for name, command in COMMANDS.items():
        app.command(name)(command)


def split(
    *,
    route: Route,
    percent: Annotated[str, typer.Argument(metavar="PERCENT", help="The student's share, e.g. 10 or 2.5%.")],
    reason: Reason = NO_REASON,
    revision: Revision = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Set the student's share by hand; evidence moves it again after `resume`. Of what is named alone, the rest or one part."""
    share_bp = share_of(percent)
    _move(config, route, revision, reason, as_json, verb=verbs.split(share_bp))


def _moving(verb: Verb, words: str) -> Callable[..., None]:
    """The command of a verb that takes no more than a route, a reason and a revision; `words` are its help."""

    def command(
        *,
        route: Route,
        reason: Reason = NO_REASON,
        revision: Revision = None,
        config: Config = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        _move(config, route, revision, reason, as_json, verb=verb)

    command.__doc__ = words
    return command


def kill(*, route: Route, reason: Reason = NO_REASON, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """The student serves nothing, at once, until `clear`: of a route and all of its parts. Works without the store."""
    try:
        _move(config, route, None, reason, as_json, verb=verbs.VERBS["kill"])
    except StoreUnavailable as fault:
        path = kill_file(load(config), route)
        _leave(path, f"{_actor()}: {reason}\n")
        words = f"the store is out of reach ({fault}); wrote {path}: gateways on this host obey it until `clear`"
        answer({"route": route, "killed": True, "kill_file": str(path), "store": str(fault)}, words, as_json=as_json)


def clear(
    *, route: Route, reason: Reason = NO_REASON, config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Take a kill back, of a route and all of its parts: in the store, and the kill files of this host."""
    settings = load(config)
    paths = [path for name in family(settings.routes, route) if (path := kill_file(settings, name)).exists()]
    removed = ", ".join(map(str, paths))
    for path in paths:
        path.unlink(missing_ok=True)
    try:
        _move(config, route, None, reason, as_json, verb=verbs.VERBS["clear"])
    except StoreUnavailable as fault:
        done = f"removed {removed}; " if removed else ""
        raise StoreUnavailable(f"{done}a kill in the store, if there is one, still stands: {fault}") from fault
    except IllegalTransition:
        if not removed:
            raise
        answer({"route": route, "killed": False, "kill_file": None}, f"{route}: removed {removed}", as_json=as_json)


def _move(config: Path, route: str, revision: int | None, reason: str, as_json: bool, *, verb: Verb) -> None:
    """Move a route, with its parts as far as the verb reaches, or a part alone."""
    with opened(config) as (settings, store):
        standing(settings, store, route)
        who = {"at": time.time(), "actor": _actor(), "reason": reason}
        names = family(settings.routes, route)
        moved = verbs.move(store, names, verb, who, expected_revision=revision, new_id=uuid7)
    answer(verbs.moved_document(moved), "\n".join(_words(moved)), as_json=as_json)


def _words(moved: Sequence[Moved]) -> Sequence[str]:
    lines = [
        shown.rollout_words(one.rollout) + (f"; not moved: {one.why}" if one.event is None else "") for one in moved
    ]
    waived = any(isinstance(one.event, Promote) and one.event.waived for one in moved)
    note = "not every required cell has passed: the guarantee is waived in your name"
    return [*lines, note] if waived else lines


def share_of(text: str) -> int:
    """`10`, `2.5` or `2.5%` in basis points. Raises a usage error for anything else."""
    match = _PERCENT.fullmatch(text.strip())
    share_bp = round(float(match[1]) * 100) if match else -1
    if not 0 <= share_bp <= FULL_BP:
        raise typer.BadParameter(f"{text!r} is not a share: write it in percent, 0 to 100, at most two decimals")
    return share_bp


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


COMMANDS: dict[str, Callable[..., None]] = {
    "split": split,
    "pause": _moving(
        verbs.VERBS["pause"],
        "Stop automatic promotion, of a route and all of its parts; step-down and rollback still act.",
    ),
    "resume": _moving(
        verbs.VERBS["resume"],
        "Go on after pause, split or rollback; after a rollback this opens a new attempt. With a route go its parts that are "
        "paused, or that stand in its phase.",
    ),
    "promote": _moving(
        verbs.VERBS["promote"],
        "One rung up, of what is named alone, the rest or one part. Where evidence has not passed yet, the guarantee is waived "
        "in your name.",
    ),
    "rollback": _moving(
        verbs.VERBS["rollback"],
        "Back to shadow now, a route with all of its parts; `resume` opens a new attempt.",
    ),
    "kill": kill,
    "clear": clear,
}
