"""`tutelage simulate`: a thousand rollouts through the real gate, of a student whose true mean is known or whose pairs
were captured; and every published figure.
"""

import math
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.stages import Ladder
from router.types import Direction
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer, bar
from tutelage.cli.shown import percent
from tutelage.cli.stores import opened
from tutelage.contracts.errors import ConfigurationError, UnknownName
from tutelage.contracts.parts import weight_of
from tutelage.contracts.records import Json
from tutelage.contracts.routes import RolloutSettings

if TYPE_CHECKING:
    from scoring.simulate.captured import Captured
    from scoring.simulate.plan import Plan
    from scoring.simulate.report import Summary

CAPTURED_AT_MOST = 20_000
"""Pairs that are read: the newest."""

REQUESTS = {"undirected": 6_000, "directed": 60_000}


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate)


def simulate(
    *,
    mean: Annotated[
        float | None, typer.Option(help="The student's true mean of d; default: -0.05.", min=-1, max=1)
    ] = None,
    law: Annotated[
        str | None, typer.Option(help="Score law: rubric5, passfail or weighted21; default: rubric5.")
    ] = None,
    captured: Annotated[
        str | None, typer.Option(help="Instead of a law: the captured pairs of this route.", metavar="ROUTE")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    runs: Annotated[int, typer.Option(min=1, help="Rollouts.")] = 1000,
    undirected: Annotated[
        bool,
        typer.Option(
            "--undirected", help="Every pair feeds evidence, fresh key and detectors; else the share decides."
        ),
    ] = False,
    stages: Annotated[str | None, typer.Option(help="Shares of the ladder in percent, such as 0,10,50,90.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="The margin delta; default 0.05, or the route's.", min=0.001, max=0.99)
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Chance that a bad student ever gets the top share; default 0.005, or the route's.",
            min=0.000_001,
            max=0.5,
        ),
    ] = None,
    sigma0: Annotated[
        float | None, typer.Option(help="Planned sd of d; default: the law's own, or the route's.", min=0.01, max=1)
    ] = None,
    requests: Annotated[
        int | None, typer.Option(help="Length of a run; default 6000 undirected, else 60000.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rollouts.")] = 1,
    validate: Annotated[
        bool, typer.Option("--validate", help="All published figures, as one table; in their short form.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --validate: the long form (a quarter of an hour on two cores).")
    ] = False,
    only: Annotated[str, typer.Option(help="With --validate: only figures whose name holds this.")] = "",
    publish: Annotated[
        Path | None,
        typer.Option(help="With --validate: put table and pictures into FOLDER/STATISTICS.md.", metavar="FOLDER"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Simulate whole rollouts and compare rates with their guarantees. Exit code 1 when a figure is missed."""
    if validate:
        _validate(only, publish, full=full, seed=seed, as_json=as_json)
        return
    if only or publish is not None or full:
        raise typer.BadParameter("--full, --only and --publish are of the published figures: add --validate")
    if captured is not None and (mean is not None or law is not None):
        raise typer.BadParameter("--captured takes mean and law from the route's pairs: leave --mean and --law out")
    from scoring.gates.streams import Wiring
    from scoring.simulate.report import summarise
    from scoring.simulate.runs import run_all

    plan, in_order = (
        _synthetic(law or "rubric5", -0.05 if mean is None else mean)
        if captured is None
        else _captured(captured, config)
    )
    plan = replace(
        plan,
        horizon=requests or REQUESTS["undirected" if undirected else "directed"],
        wiring=Wiring.UNDIRECTED if undirected else Wiring.DIRECTED,
        stages_bp=_shares(stages) or plan.stages_bp,
        delta=plan.delta if margin is None else margin,
        delta_r=plan.delta_r if margin is None else margin,
        alpha=plan.alpha if alpha is None else alpha,
        sigma0=plan.sigma0 if sigma0 is None else sigma0,
    )
    with bar(plan.horizon, f"{runs} rollouts", as_json=as_json) as told:
        summary = summarise(run_all(plan, runs=runs, seed=seed, progress=told), plan)
    document, words = summary.as_json(), _in_words(summary)
    if in_order is not None:
        document["in_order"], told_words = _told(replace(plan, wiring=Wiring.UNDIRECTED), in_order)
        words = f"{told_words}\n\n{words}"
    answer(document, words, as_json=as_json)
    if not summary.reached:
        raise typer.Exit(1)


def _synthetic(law: str, mean: float) -> "tuple[Plan, None]":
    from scoring.simulate.plan import LAWS, Plan

    if law not in LAWS:
        raise typer.BadParameter(f"unknown law {law!r}: use one of {', '.join(LAWS)}")
    try:
        scores = LAWS[law](mean)
    except ValueError as fault:
        why = f"no student of law {law!r} has a mean d of {mean:+g}: take one nearer to 0, or another law"
        raise typer.BadParameter(why) from fault
    return Plan(law=scores, sigma0=round(scores.sigma, 3)), None


def _captured(name: str, config: Path) -> "tuple[Plan, Captured]":
    """The route's policy on the route's pairs."""
    from scoring.simulate.captured import captured
    from scoring.simulate.plan import Plan

    with opened(config) as (settings, store):
        if name not in settings.routes:
            raise UnknownName(f"no route {name!r}; there are {', '.join(sorted(settings.routes))}")
        found, rollout = captured(store, name, CAPTURED_AT_MOST), settings.routes[name].rollout or RolloutSettings()
    forward = found.law(Direction.FORWARD)
    if forward is None:
        raise ConfigurationError(f"route {name!r} has too few forward units: nothing to simulate from yet")
    plan = Plan(
        law=forward,
        reverse=found.law(Direction.REVERSE),
        stages_bp=rollout.stages,
        delta=rollout.margin,
        delta_r=rollout.margin if rollout.delta_r is None else rollout.delta_r,
        alpha=rollout.alpha,
        sigma0=rollout.sigma0,
        weight=weight_of(name, settings.routes[name]),
    )
    return plan, found


def _told(plan: "Plan", found: "Captured") -> tuple[Json, str]:
    """What would have happened, had the captured units come in their order to a rollout with this policy."""
    from scoring.simulate.walk import walk

    story, _ = walk(plan, found.units)
    document = {
        "units": len(found.units),
        "reached": {str(rung): at for rung, at in story.reached.items()},
        "step_downs": story.step_downs,
        "holds": [[at, hold] for at, hold in story.holds],
        "rolled_back_at": story.rolled_back_at,
        "share_bp": story.rollout.share_bp,
    }
    events = [(at, f"reaches {percent(plan.stages_bp[rung])}") for rung, at in story.reached.items()]
    events += [(at, "steps down") for at in story.step_downs]
    for hold, times in Counter(hold for _, hold in story.holds).items():
        first = min(at for at, name in story.holds if name == hold)
        events.append((first, f"held: {hold}" + (f", for the first of {times} times" if times > 1 else "")))
    events += [] if story.rolled_back_at is None else [(story.rolled_back_at, "back in shadow")]
    lines = [f"the {len(found.units):,} captured units in their order, as one stream:"]
    lines += [f"  after {at:,} units: {what}" for at, what in sorted(events)] or ["  nothing is decided"]
    return document, "\n".join([*lines, f"  at the end: {percent(story.rollout.share_bp)}"])


def _shares(stages: str | None) -> tuple[int, ...] | None:
    """A ladder in percent as basis points."""
    if stages is None:
        return None
    try:
        return Ladder(shares_bp=tuple(round(100 * float(share.rstrip(" %"))) for share in stages.split(","))).shares_bp
    except ValueError as fault:
        raise typer.BadParameter(f"stages {stages!r}: {fault}") from fault


def _validate(only: str, folder: Path | None, *, full: bool, seed: int, as_json: bool) -> None:
    from scoring.simulate.figures.scale import FULL, SHORT
    from scoring.simulate.rows import Row, in_words, missed
    from scoring.simulate.validate import names, validation

    scale = replace(FULL if full else SHORT, seed=seed)
    chosen = [name for name in names() if only in name]
    if not chosen:
        raise typer.BadParameter(f"no figure's name holds {only!r}; there are: {'; '.join(names())}")
    with bar(len(chosen), "figures", as_json=as_json) as told:
        parts = validation(scale, only=chosen, progress=told)
    if folder is not None:
        from scoring.simulate.pictures import draw
        from scoring.simulate.publish import publish, table

        publish(folder / "STATISTICS.md", table(parts, scale))
        draw(folder, scale)
    found = [figure for figures in parts.values() for figure in figures]
    rows = [figure for figure in found if isinstance(figure, Row)]
    document = {
        "rows": [asdict(row) for row in rows],
        "reported": [asdict(figure) for figure in found if not isinstance(figure, Row)],
        "scale": asdict(scale),
    }
    answer(document, "\n".join(map(in_words, found)), as_json=as_json)
    if missed(found):
        raise typer.Exit(1)


def _in_words(summary: "Summary") -> str:
    from scoring.simulate.rows import in_words

    lines = [f"{summary.runs} rollouts of a student with true mean d {summary.mean:+.3f}", ""]
    lines.append(
        f"{'rung':>6} {'reached by':>11} {'99 % lower':>11} {'alpha_k':>8} {'requests':>9} {'forward pairs':>14}"
    )
    for rung in summary.rungs:
        lines.append(
            f"{rung.share_bp / 100:>5g}% {rung.rate:>11.2%} {rung.lower:>11.2%} {rung.alpha:>8.2%} "
            f"{_count(rung.requests):>9} {_count(rung.forward):>14}"
        )
    at_the_end = (
        f"on the last rung at the end {summary.at_top:.1%}; held or rolled back at the end {summary.frozen:.1%}; "
        f"step-downs per run {summary.step_downs:.2f}; rolled back {summary.rolled_back:.1%}; "
        f"expected maximum share {summary.max_share:.2%}"
    )
    lines += ["", at_the_end, "", *map(in_words, summary.rows)]
    return "\n".join(lines).rstrip()


def _count(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:,.0f}"
