"""`tutelage plan`: how many pairs, days and dollars until the student may take over, and whether it can be measured at all.

Owns   the way from a route's settings and its captured pairs to an `Outlook`. What follows is `scoring.simulate.planner`'s.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from router.types import FULL_BP, Direction
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer, bar
from tutelage.cli.shown import dollars, percent
from tutelage.cli.stores import opened
from tutelage.contracts.errors import ConfigurationError, UnknownName
from tutelage.contracts.pairs import Pair
from tutelage.contracts.parts import weight_of
from tutelage.contracts.records import Json
from tutelage.contracts.routes import RolloutSettings, RouteSettings
from tutelage.store.base import Store

if TYPE_CHECKING:
    from scoring.simulate.planner import Forecast, Odds, Outlook

Usd = Annotated[
    float | None,
    typer.Option(help="Dollars a call; default: the mean of the newest captured pairs.", min=0, max=1_000_000),
]
DAY_S = 86_400.0
ODDS_PAIRS = 6_000
"""Length of a simulated rollout."""

CALLS_AT_MOST = 10_000_000_000
NEWEST = 300
"""Captured pairs whose mean costs are taken."""


def register(app: typer.Typer) -> None:
    app.command("plan")(plan)


def plan(
    *,
    route: Annotated[str, typer.Argument(metavar="ROUTE", show_default=False)],
    config: Config = DEFAULT_CONFIG,
    calls_per_day: Annotated[
        float | None, typer.Option(help="Requests a day; default: the last day's.", min=1, max=CALLS_AT_MOST)
    ] = None,
    turns: Annotated[float, typer.Option(help="Requests of a conversation, on average.", min=1, max=10_000)] = 1.0,
    sigma: Annotated[
        float | None, typer.Option(help="Standard deviation of d; default: rollout.sigma0.", min=0.01, max=1)
    ] = None,
    attempt: Annotated[int, typer.Option(help="Which student or attempt it is: later ones need more.", min=1)] = 1,
    slice_share: Annotated[
        list[float] | None,
        typer.Option(help="Share of a slice that must pass by itself, 0 to 1; once for each.", min=0.0001, max=1),
    ] = None,
    days_per_rung: Annotated[float, typer.Option(help="How long one rung may take.", min=0.01, max=10_000)] = 7.0,
    teacher_usd: Usd = None,
    student_usd: Usd = None,
    judge_usd: Usd = None,
    runs: Annotated[int, typer.Option(help="Simulated rollouts per true difference; 0: none.", min=0)] = 40,
    seed: Annotated[int, typer.Option(help="The same seed gives the same odds.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Forecast a rollout rung by rung. Exit code 1 where the ladder cannot be climbed; a shorter one is proposed."""
    from scoring.simulate.planner import MEANS, Outlook, forecast, odds

    with opened(config) as (settings, store):
        chosen = _rollout(settings.routes, route)
        newest = store.pairs(route, NEWEST)
        prices = {
            "teacher_usd": _mean_usd(_costs(newest, "teacher")) if teacher_usd is None else teacher_usd,
            "student_usd": _mean_usd(_costs(newest, "student")) if student_usd is None else student_usd,
            "judge_usd": _judge_usd(settings.routes[route], store, newest) if judge_usd is None else judge_usd,
        }
        calls = _calls_per_day(settings.routes[route], store, route) if calls_per_day is None else calls_per_day
    reverse, judged = _limits(settings.routes[route], calls / turns, prices)
    outlook = Outlook(
        stages_bp=chosen.stages,
        margin=chosen.margin,
        alpha=chosen.alpha,
        sigma0=chosen.sigma0 if sigma is None else sigma,
        units_per_day=calls / turns,
        turns=turns,
        attempt=attempt,
        weight=weight_of(route, settings.routes[route]),
        forward_rate=settings.routes[route].shadow.student / FULL_BP,
        dwell_s=chosen.dwell,
        slices=tuple(slice_share or ()),
        slice_margin=chosen.gates.slice_margin or min(2 * chosen.margin, 0.99),
        days_per_rung=days_per_rung,
        reverse_pairs_per_day=reverse,
        judged=judged,
        **prices,
    )
    found = forecast(outlook)
    chances: tuple[Odds, ...] = ()
    if runs:
        with bar(len(MEANS), f"{runs} rollouts per true difference", as_json=as_json) as told:
            chances = odds(outlook, runs=runs, pairs=ODDS_PAIRS, seed=seed, progress=told)
    words = [*_in_words(route, outlook, found), *_odds_in_words(chances)]
    answer(_document(outlook, found, chances), "\n".join(words), as_json=as_json)
    if found.refusals:
        raise typer.Exit(1)


# --- what is known ----------------------------------------------------------------------------------------------------


def _rollout(routes: dict[str, RouteSettings], name: str) -> RolloutSettings:
    if name not in routes:
        raise UnknownName(f"no route {name!r}; there are {', '.join(sorted(routes))}")
    if (found := routes[name].rollout) is None:
        raise ConfigurationError(f"routes.{name} has no rollout: there is nothing to plan")
    return found


def _calls_per_day(route: RouteSettings, store: Store, name: str) -> float:
    """Requests of the last day, from its pairs and the rate at which they were sampled."""
    rollout, rate = store.rollout(name), route.shadow.student / FULL_BP
    forward = store.traffic(name, Direction.FORWARD, time.time() - DAY_S)
    share = 0.0 if rollout is None else rollout.share_in_force_bp / FULL_BP
    if forward == 0 or rate == 0.0 or share >= 1.0:
        raise ConfigurationError(f"route {name!r} has no forward pairs of the last day: say --calls-per-day")
    return forward / rate / (1.0 - share)


def _limits(route: RouteSettings, units_per_day: float, prices: dict[str, float | None]) -> tuple[float, float]:
    """What the daily budgets leave: reverse pairs a day, and the part of the pairs that is judged."""
    reverse, judged = float(route.shadow.pairs_per_day), 1.0
    if route.shadow.max_usd_per_day is not None and prices["teacher_usd"]:
        reverse = min(reverse, route.shadow.max_usd_per_day / prices["teacher_usd"])
    if route.judge is not None:
        if route.judge.rate != "auto":
            judged = route.judge.rate / FULL_BP
        if route.judge.max_usd_per_day is not None and prices["judge_usd"]:
            judged = min(judged, route.judge.max_usd_per_day / prices["judge_usd"] / units_per_day)
    return reverse, judged


def _costs(pairs: Sequence[Pair], arm: str) -> list[int]:
    attempts = [getattr(pair, arm) for pair in pairs]
    return [attempt.cost_nusd for attempt in attempts if attempt is not None and attempt.cost_nusd is not None]


def _judge_usd(route: RouteSettings, store: Store, pairs: Sequence[Pair]) -> float | None:
    if route.judge is None:
        return 0.0
    judged = [judgement for pair in pairs for judgement in store.judgements(pair.id) if judgement.judge is not None]
    return _mean_usd([judgement.cost_nusd for judgement in judged if judgement.cost_nusd is not None])


def _mean_usd(costs_nusd: Sequence[int]) -> float | None:
    return fmean(costs_nusd) / 1e9 if costs_nusd else None


def _document(outlook: "Outlook", found: "Forecast", chances: "Sequence[Odds]") -> Json:
    return {
        "outlook": asdict(outlook),
        "rungs": [{name: _finite(value) for name, value in asdict(rung).items()} for rung in found.rungs],
        "days": _finite(found.days),
        "usd": found.usd,
        "refusals": found.refusals,
        "proposed_bp": found.proposed_bp,
        "odds": [asdict(chance) for chance in chances],
    }


# --- words ------------------------------------------------------------------------------------------------------------


def _in_words(route: str, outlook: "Outlook", found: "Forecast") -> list[str]:
    from scoring.simulate.planner import band

    lines = [
        f"{route}: margin {outlook.margin:g}, sigma0 {outlook.sigma0:g}, {outlook.units_per_day:,.0f} units a day",
        "for a student equal to its teacher:",
        "",
        f"{'rung':>7} {'alpha':>7} {'forward pairs':>14} {'fresh pairs':>12} {'days':>8} {'four in five':>16}  held by",
    ]
    for rung in found.rungs:
        low, high = band(rung)
        lines.append(
            f"{percent(rung.share_bp):>7} {rung.alpha_next:>7.2%} {rung.forward_pairs:>14,.0f} {_count(rung.fresh_pairs):>12} "
            f"{_days(rung.days):>8} {_days(low) + ' to ' + _days(high):>16}  {rung.held_by}"
        )
    spent = {
        "judge": [rung.judge_usd for rung in found.rungs],
        "student shadow": [rung.shadow_usd for rung in found.rungs],
        "reverse shadow": [rung.reverse_shadow_usd for rung in found.rungs],
    }
    costs = ", ".join(f"{name} {dollars(_sum(parts))}" for name, parts in spent.items())
    lines += [
        "",
        f"to {percent(outlook.stages_bp[-1])}: {_days(found.days)} days; {costs}; in all {dollars(found.usd)}",
    ]
    if unknown := [name for name in ("teacher", "student", "judge") if getattr(outlook, f"{name}_usd") is None]:
        options = " and ".join(f"--{name}-usd" for name in unknown)
        lines.append(f"unknown: what a call of {', '.join(unknown)} costs; say {options}, or capture pairs with prices")
    lines += [f"REFUSED: {refusal}" for refusal in found.refusals]
    if found.proposed_bp is not None:
        lines.append(f"a ladder that can be measured: stages: [{', '.join(map(percent, found.proposed_bp))}]")
    return lines


def _odds_in_words(chances: "Sequence[Odds]") -> list[str]:
    if not chances:
        return []
    lines = ["", f"{'true difference':>16} {'reaches the top':>16} {'stays there':>12} {'pairs':>8}"]
    for chance in chances:
        pairs = "-" if chance.pairs is None else f"{chance.pairs:,.0f}"
        lines.append(f"{chance.mean:>+16.2f} {chance.reach:>16.0%} {chance.stay:>12.0%} {pairs:>8}")
    return lines


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _days(days: float) -> str:
    return f"{days:,.2f}" if math.isfinite(days) else "never"


def _count(pairs: float) -> str:
    return f"{pairs:,.0f}" if math.isfinite(pairs) else "-"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
