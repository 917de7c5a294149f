"""`tutelage simulate`: a thousand rollouts of a student whose true mean is known, through the real gate."""

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli.output import AsJson, answer, bar

if TYPE_CHECKING:
    from scoring.simulate.report import Summary

REQUESTS = {"undirected": 6_000, "directed": 60_000}


def register(app: typer.Typer) -> None:
    app.command("simulate")(simulate)


def simulate(
    *,
    mean: Annotated[float, typer.Option(help="The student's true mean of d.")] = -0.05,
    law: Annotated[str, typer.Option(help="Score law: rubric5, passfail or weighted21.")] = "rubric5",
    runs: Annotated[int, typer.Option(min=1, help="Rollouts.")] = 1000,
    undirected: Annotated[
        bool,
        typer.Option(
            "--undirected", help="Every pair feeds evidence, fresh key and detectors; else the share decides."
        ),
    ] = False,
    margin: Annotated[float, typer.Option(help="The margin delta.")] = 0.05,
    alpha: Annotated[float, typer.Option(help="Probability that a bad student ever gets the top share.")] = 0.005,
    sigma0: Annotated[float | None, typer.Option(help="Planned sd of d; default: the law's own.")] = None,
    requests: Annotated[
        int | None, typer.Option(help="Length of a run; default 6000 undirected, else 60000.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rollouts.")] = 1,
    validate: Annotated[
        bool, typer.Option("--validate", help="All published figures, as one table; in their short form.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --validate: the long form (an hour on two cores).")
    ] = False,
    only: Annotated[str, typer.Option(help="With --validate: only figures whose name holds this.")] = "",
    as_json: AsJson = False,
) -> None:
    """Simulate whole rollouts and compare rates with their guarantees. Exit code 1 when a figure is missed."""
    if validate:
        _validate(only, full=full, seed=seed, as_json=as_json)
        return
    from scoring.gates.streams import Wiring
    from scoring.simulate.plan import LAWS, Plan
    from scoring.simulate.report import summarise
    from scoring.simulate.runs import run_all

    if law not in LAWS:
        raise typer.BadParameter(f"unknown law {law!r}: use one of {', '.join(LAWS)}")
    scores = LAWS[law](mean)
    plan = Plan(
        law=scores,
        horizon=requests or REQUESTS["undirected" if undirected else "directed"],
        wiring=Wiring.UNDIRECTED if undirected else Wiring.DIRECTED,
        delta=margin,
        delta_r=margin,
        alpha=alpha,
        sigma0=round(scores.sigma, 3) if sigma0 is None else sigma0,
    )
    with bar(plan.horizon, f"{runs} rollouts", as_json=as_json) as told:
        summary = summarise(run_all(plan, runs=runs, seed=seed, progress=told), plan)
    answer(summary.as_json(), _in_words(summary), as_json=as_json)
    if not summary.reached:
        raise typer.Exit(1)


def _validate(only: str, *, full: bool, seed: int, as_json: bool) -> None:
    from scoring.simulate.figures.scale import FULL, SHORT
    from scoring.simulate.rows import Row, in_words, missed
    from scoring.simulate.validate import names, validation

    scale = replace(FULL if full else SHORT, seed=seed)
    chosen = [name for name in names() if only in name]
    if not chosen:
        raise typer.BadParameter(f"no figure's name holds {only!r}; there are: {'; '.join(names())}")
    with bar(len(chosen), "figures", as_json=as_json) as told:
        found = validation(scale, only=chosen, progress=told)
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
