"""`tutelage evaluate FILE`: the first experiment of every team, N real inputs through both arms, side by side.

Owns the command: settings, a key for the time of the experiment, the report. The work is `tutelage.evaluation`'s.
"""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.types import Arm
from tutelage.cli.lent import lent_key
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer, bar
from tutelage.cli.shown import dollars
from tutelage.cli.stores import opened
from tutelage.contracts.errors import ConfigurationError, TutelageError, UnknownName
from tutelage.contracts.parts import whole_of
from tutelage.contracts.records import Json
from tutelage.contracts.routes import RouteSettings
from tutelage.contracts.settings import Settings

if TYPE_CHECKING:
    from scoring.evaluation import ArmSummary, Compared, Summary

KEY_SPREADS_S = 2.0
"""Gateways know a new key within a second."""


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


def evaluate(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="JSON Lines of chat requests.")],
    route: Annotated[str | None, typer.Option(help="The route; needed where several have a student.")] = None,
    config: Config = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(help="Inputs, from the top of the file.", min=1)] = 100,
    out: Annotated[Path, typer.Option(help="The HTML report.", metavar="HTML")] = Path("evaluation.html"),
    as_json: AsJson = False,
) -> None:
    """Ask both arms through the running gateway and compare. Exit code 1 where no input has a score."""
    from scoring.evaluation import summarise
    from tutelage.evaluation.inputs import read_inputs
    from tutelage.evaluation.page import page

    requests = read_inputs(file, limit)
    _writable(out)
    with opened(config) as (settings, store):
        name = _route(settings, route)
        with (
            lent_key(store, "evaluate", role="internal", may_pin=True, may_log=False) as key,
            bar(len(requests), f"{len(requests)} inputs", as_json=as_json) as told,
        ):
            compared = asyncio.run(_compared(settings, config, name, key, requests, told))
    summary = summarise(compared)
    out.write_text(page(f"{name}: {file.name}", summary, compared), encoding="utf-8")
    document = asdict(summary) | {"route": name, "report": str(out), "rows": [_row(one) for one in compared]}
    answer(document, "\n".join(_in_words(summary, out)), as_json=as_json)
    if summary.scored == 0:
        raise typer.Exit(1)


def _writable(out: Path) -> None:
    """Make sure that the report can be written, before anything is paid for."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        new = not out.exists()
        out.open("a", encoding="utf-8").close()
        if new:
            out.unlink()
    except OSError as fault:
        raise ConfigurationError(
            f"cannot write {out}: {fault.strerror}; name another report with --out HTML"
        ) from fault


async def _compared(
    settings: Settings, config: Path, name: str, key: str, requests: list[dict[str, Any]], told: Any
) -> "list[Compared]":
    from scoring.judges import GatewayClient
    from scoring.routes import scorings
    from scoring.rubrics.load import rubrics_folder
    from tutelage.contracts.prices import PriceList
    from tutelage.evaluation.arms import Arms
    from tutelage.evaluation.run import compare

    url, chosen = settings.internal.gateway_url, settings.routes[name]
    judge_client = GatewayClient(url, key)
    arms = Arms(url, key, name, _upstreams(settings, chosen), PriceList(settings.upstreams))
    try:
        folder = rubrics_folder(config, settings.rubrics)
        only = settings.model_copy(update={"routes": {name: chosen}})
        scoring = scorings(only, folder, judge_client, lambda judge, outcome, seconds: None)[name]
        await arms.reachable(KEY_SPREADS_S)
        return await compare(requests, arms, scoring, route=name, progress=told)
    finally:
        await arms.close()
        await judge_client.close()


def _route(settings: Settings, asked: str | None) -> str:
    """The route to compare the arms of; those of a part are its route's."""
    able = sorted({whole_of(name) for name, found in settings.routes.items() if found.student is not None})
    if asked is not None and asked not in settings.routes:
        raise UnknownName(f"no route {asked!r}; there are {', '.join(sorted(settings.routes))}")
    if asked is not None and whole_of(asked) not in able:
        raise ConfigurationError(f"routes.{asked} has no student: there is nothing to compare")
    if asked is None and len(able) != 1:
        raise ConfigurationError(f"say --route: there are {', '.join(able) or 'no routes with a student'}")
    name = whole_of(asked or able[0])
    if settings.routes[name].rubric is None:
        raise ConfigurationError(f"routes.{name} has no rubric: add one, it says what a good answer is")
    return name


def _upstreams(settings: Settings, route: RouteSettings) -> dict[Arm, Any]:
    if route.student is None:
        raise TutelageError("the route lost its student")
    named = {Arm.TEACHER: route.teacher, Arm.STUDENT: route.student}
    return {arm: (name, settings.upstreams[name]) for arm, name in named.items()}


def _row(one: "Compared") -> Json:
    judgement = one.judgement
    return {
        "d": None if judgement is None else judgement.d,
        "failure": one.unjudged or (judgement.failure if judgement is not None else None),
        "scores": {} if judgement is None else {s.criterion: [s.teacher, s.student] for s in judgement.scores},
        "teacher_ms": None if one.pair.teacher is None else one.pair.teacher.total_ms,
        "student_ms": None if one.pair.student is None else one.pair.student.total_ms,
    }


def _in_words(summary: "Summary", out: Path) -> list[str]:
    from tutelage.evaluation.page import verdict_words

    lines = [*verdict_words(summary)]
    for name, arm in (("teacher", summary.teacher), ("student", summary.student)):
        lines.append(f"{name}: {_arm_words(arm)}")
    lines += [f"judge {dollars(summary.judge_usd)}"] if summary.judge_usd != 0.0 else []
    lines += [f"{count} x {name}" for name, count in sorted(summary.failures.items())]
    return [*lines, f"see {out}"]


def _arm_words(arm: "ArmSummary") -> str:
    score = "unknown" if arm.score is None else f"{arm.score:.3f}"
    times = "no answer" if arm.median_ms is None else f"median {arm.median_ms:,.0f} ms, p95 {arm.p95_ms:,.0f} ms"
    cost = "cost unknown" if arm.usd_per_call is None else f"${arm.usd_per_call:.6f} a call"
    return f"score {score}, {arm.failures} failures, {times}, {cost}"
