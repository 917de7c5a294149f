"""`tutelage history ROUTE`: the decisions of a route; with `--replay`, whether each can be decided again.

Owns the command. What a replay compares is `tutelage.control.replay`. Exit code 1 where a decision comes out otherwise.
"""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from tutelage.cli import shown
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer
from tutelage.cli.stores import known, opened

if TYPE_CHECKING:
    from tutelage.control.replay import Replay

Route = Annotated[str, typer.Argument(metavar="ROUTE", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many decisions, newest first.")]
Again = Annotated[bool, typer.Option("--replay", help="Decide everything again from pairs and scores, and compare.")]


def history(
    route: Route, limit: Limit = 20, config: Config = DEFAULT_CONFIG, as_json: AsJson = False, replay: Again = False
) -> None:
    """List the decisions of a route, newest first: moves and refusals."""
    with opened(config) as (settings, store):
        found = settings.routes[known(settings, route)]
        if replay:
            from tutelage.control import replay as control

            again = control.replay(store, route, found.slices.analysis)
            answer({"route": route, "replay": control.document(again)}, _replayed_words(route, again), as_json=as_json)
            raise typer.Exit(1 if again.count(control.Found.DIFFERENT) else 0)
        decisions = store.history(route, limit)
    words = "\n".join(shown.decision_words(decision) for decision in decisions) or f"{route}: nothing decided yet"
    answer({"route": route, "decisions": msgspec.to_builtins(list(decisions))}, words, as_json=as_json)


def _replayed_words(route: str, replay: "Replay") -> str:
    """What came out otherwise, decision by decision, and how many were the same."""
    lines = []
    for one in replay.again:
        if one.differences:
            lines += [f"{one.found}: {shown.decision_words(one.decision)}", *(f"  {each}" for each in one.differences)]
    counts = {found: sum(one.found == found for one in replay.again) for found in ("same", "different", "unknown")}
    decided = ", ".join(f"{count} {found}" for found, count in counts.items())
    return "\n".join(
        [*lines, f"{route}: {decided} of {len(replay.again)} decisions of the gate; {replay.others} by others"]
    )
