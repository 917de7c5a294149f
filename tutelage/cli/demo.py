"""`tutelage demo`: watch a student earn its traffic, or fail to. Runs in a checkout of the project."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import load

OUT = Path("data/demo")


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    scenario: Annotated[str, typer.Option(help="climb, regression or weak.")] = "climb",
    latency: Annotated[str, typer.Option(help="How the recorded upstreams wait: none or recorded.")] = "none",
    live: Annotated[bool, typer.Option("--live", help="Train, serve from vLLM and run everything live.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Make the recording (an hour or more).")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Listen where `gateway` and `admin` in FILE say, not on free ports.", metavar="FILE"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """The main job, end to end: the real gateway, control and worker on real input. Leaves data/demo/summary.json."""
    console = Console(stderr=True)
    if record and config is not None:
        raise typer.BadParameter("--record serves nobody: leave --config out")
    places = {} if config is None else load(config).model_dump(mode="json", include={"gateway", "admin"})
    if record:
        made = asyncio.run(_record(console))
        typer.echo(_json(made))
        return
    summary = asyncio.run(_live(console, places) if live else _replayed(scenario, latency, console, places))
    if as_json:
        typer.echo(_json(summary))
    else:
        _tell(summary)
    sys.exit(0 if summary["as_expected"] is not False else 1)


async def _replayed(scenario: str, latency: str, console: Console, places: Mapping[str, Any]) -> Mapping[str, Any]:
    from tutelage.demo.run import play
    from tutelage.demo.scenario import SCENARIOS
    from tutelage.demo.task import recorded_stage

    if scenario not in SCENARIOS:
        raise ConfigurationError(f"there is no scenario {scenario!r}; there are {', '.join(SCENARIOS)}")
    if latency not in ("none", "recorded"):
        raise ConfigurationError(f"latency {latency!r} is neither 'none' nor 'recorded'")
    shown = SCENARIOS[scenario]
    console.print(
        f"{shown.says}\nAnswers of teacher and student are replayed from a recording; everything else is live."
    )
    console.print("Inputs are drawn with replacement, and every request is a session of its own.\n")
    async with recorded_stage(shown, OUT, latency) as stage:
        return await play(shown, stage, OUT, console, places)


async def _live(console: Console, places: Mapping[str, Any]) -> Mapping[str, Any]:
    from tutelage.demo.live import LIVE, live_stage
    from tutelage.demo.run import play

    console.print(LIVE.says)
    async with live_stage(OUT / "live-work", console) as stage:
        return await play(LIVE, stage, OUT, console, places)


async def _record(console: Console) -> Mapping[str, Any]:
    from tutelage.demo.record import record

    return await record(Path("data/record"), console)


def _json(document: Mapping[str, Any]) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _tell(summary: Mapping[str, Any]) -> None:
    """What happened, in words."""
    lines = [
        "",
        _counts(summary),
        *(
            f"  {decision['event']:<9} {decision['from_bp'] / 100:g} % → {decision['to_bp'] / 100:g} %  {decision['reason']}"
            for decision in summary["decisions"]
            if decision["from_bp"] != decision["to_bp"]
            or decision["event"] == "RollBack"
            or "retrain" in decision["reason"]
        ),
        f"the student ended {summary['final_phase']} with {summary['final_share_bp'] / 100:g} % of the traffic",
        f"cost in dollars (declared prices): {summary['cost_usd']}",
        f"live: {', '.join(summary['live'])}; recorded: {', '.join(summary['recorded']) or 'nothing'}",
        f"expected: {summary['expected']} - {_verdict(summary['as_expected'])}",
        f"see {OUT / 'summary.json'} and {OUT / 'rollout.png'}",
    ]
    typer.echo("\n".join(lines))


def _counts(summary: Mapping[str, Any]) -> str:
    return (
        f"{summary['scenario']}: {summary['requests']:,} durable requests, {summary['errors']} errors, "
        f"{summary['pairs']:,} pairs, {summary['scores']:,} scores in {summary['duration_s']:.0f} s"
    )


def _verdict(as_expected: bool | None) -> str:
    return {True: "so it came", False: "IT DID NOT COME SO", None: "nothing was expected"}[as_expected]
