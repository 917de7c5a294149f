"""How each route is scored: its compiled rubric and its judge, from the configuration.

Owns what is refused before anything runs. Must not know the queue or the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from scoring.judges import JUDGES, Asker, GatewayClient, Judge, JudgeSettled, Observe
from scoring.judges.budget import Budget, budget_of
from scoring.rubrics.anchors import Anchor, anchors_of
from scoring.rubrics.scorer import Scorer, compile_rubric
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.prices import PriceList
from tutelage.contracts.records import Usage
from tutelage.contracts.routes import JudgeSettings, RouteSettings
from tutelage.contracts.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteScoring:
    """How pairs of one route are scored. `judge` is there where the rubric needs one, with its budget where it has one."""

    scorer: Scorer
    judge: Judge | None = None
    budget: Budget | None = None
    anchors: tuple[Anchor, ...] = ()
    anchors_every_s: float = 86_400.0


def scorings(settings: Settings, folder: Path, client: GatewayClient, observe: Observe) -> Mapping[str, RouteScoring]:
    """How each route is scored; routes without a rubric are not. Raises ConfigurationError."""
    prices = PriceList(settings.upstreams)
    compiled: dict[str, Scorer] = {}
    routes: dict[str, RouteScoring] = {}
    for name, route in settings.routes.items():
        if route.rubric is None:
            continue
        if route.rubric not in compiled:
            compiled[route.rubric] = compile_rubric(folder, route.rubric)
        scorer = compiled[route.rubric]
        if not scorer.rubric.needs_judge:
            routes[name] = RouteScoring(scorer=scorer)
        elif route.judge is None:
            raise ConfigurationError(
                f"routes.{name}: rubric {route.rubric} needs a judge; add judge: {{upstream: NAME}}"
            )
        else:
            judge = _judge(settings, route.judge, prices, client, observe)
            routes[name] = RouteScoring(
                scorer=_with_floor(name, route, scorer),
                judge=judge,
                budget=budget_of(settings, name, prices),
                anchors=anchors_of(folder, scorer.rubric),
                anchors_every_s=route.judge.anchors_every,
            )
    return routes


def _with_floor(name: str, route: RouteSettings, scorer: Scorer) -> Scorer:
    """A floor under the student's own score needs that score of every pair, ties too. Raises ConfigurationError."""
    if route.rollout is None or route.rollout.gates.floor is None:
        return scorer
    if scorer.rubric.judging == "pairwise":
        reason = (
            f"rubric {scorer.rubric.id} only compares: a floor needs the student's own score; write judging: pointwise"
        )
        raise ConfigurationError(f"routes.{name}.rollout.gates.floor: {reason}")
    return replace(scorer, ties="asked")


def _judge(
    settings: Settings, judge: JudgeSettings, prices: PriceList, client: GatewayClient, observe: Observe
) -> Judge:
    return Asker(
        client,
        JUDGES,
        _settled(settings, judge.upstream, prices),
        None if judge.fallback is None else _settled(settings, judge.fallback, prices),
        both_bp=judge.both_orders,
        observe=observe,
    )


def _settled(settings: Settings, upstream: str, prices: PriceList) -> JudgeSettled:
    return JudgeSettled(
        upstream=upstream, version=settings.upstreams[upstream].version, cost_nusd=partial(_cost, prices, upstream)
    )


def _cost(prices: PriceList, upstream: str, usage: Usage | None, total_ms: float) -> int | None:
    price = prices.price(upstream, usage, total_ms)
    return price.nusd if price is not None else None
