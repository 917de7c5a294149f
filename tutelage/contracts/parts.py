"""Carve-outs: a route of which the values of one slice climb apart. Each is a part, a route by itself named `ROUTE:VALUE`.

    triage            what has no part of its own: other values, and none
    triage:billing    what is sent to `triage` with the value `billing`

Owns the names of parts, what each has of its route's settings and budgets, and its weight in the error rates; weights add up
to 1. A part has its own rollout, pairs, evidence, epoch and history, as every route has: whoever reads routes need not know of
parts. Clients name the route alone; which part a request is in is the gateway's to tell (`gateway.routing`).
"""

from collections.abc import Iterable, Mapping

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.routes import CarveOutSettings, RouteSettings
from tutelage.contracts.settings import Settings
from tutelage.contracts.values import PART


def carve_outs_of(route: RouteSettings) -> CarveOutSettings | None:
    """What climbs apart, of a route or of one of its parts; None where nothing does."""
    return None if route.rollout is None else route.rollout.gates.carve_outs


def whole_of(name: str) -> str:
    """The route that clients name, of a route or of one of its parts."""
    return name.partition(PART)[0]


def is_part(name: str) -> bool:
    """Whether clients cannot name it."""
    return PART in name


def parts_of(routes: Mapping[str, RouteSettings], name: str) -> dict[str, str]:
    """The names of a route's parts by value; none of a part."""
    carved = None if is_part(name) else carve_outs_of(routes[name])
    return {} if carved is None else {value: name + PART + value for value in carved.weights}


def family(names: Iterable[str], name: str) -> list[str]:
    """A route and its parts, those among `names`; or a part alone."""
    return [other for other in sorted(names) if name in (other, whole_of(other))]


def weight_of(name: str, route: RouteSettings) -> float:
    """What a route or part has of the route's error rates: 1 where nothing is carved out, else what its parts leave."""
    carved = carve_outs_of(route)
    if carved is None:
        return 1.0
    return carved.weights[name.partition(PART)[2]] if is_part(name) else carved.rest


def with_parts(settings: Settings) -> Settings:
    """The settings as written with a route for each part. Raises ConfigurationError where a part is written itself."""
    for name in settings.routes:
        if is_part(name):
            why = f"declare it in routes.{whole_of(name)}.rollout.gates.carve_outs"
            raise ConfigurationError(f"routes.{name}: what has {PART!r} in its name is a part of a route; {why}")
    routes: dict[str, RouteSettings] = {}
    for name, route in settings.routes.items():
        routes[name] = _weighing(route, weight_of(name, route))
        for part in parts_of(settings.routes, name).values():
            routes[part] = _weighing(route, weight_of(part, route)).model_copy(update={"match": ()})
    return settings.model_copy(update={"routes": routes})


def _weighing(route: RouteSettings, weight: float) -> RouteSettings:
    """The settings with a part of what is spent in a day or is fixed: all parts together spend what the route may."""
    if weight == 1.0:
        return route
    shadow, judge, fixed = route.shadow, route.judge, route.fixed_cost
    pairs_per_day = max(1, round(weight * shadow.pairs_per_day))
    return route.model_copy(
        update={
            "shadow": shadow.model_copy(
                update={"pairs_per_day": pairs_per_day, "max_usd_per_day": _times(shadow.max_usd_per_day, weight)}
            ),
            "judge": None
            if judge is None
            else judge.model_copy(update={"max_usd_per_day": _times(judge.max_usd_per_day, weight)}),
            "fixed_cost": fixed.model_copy(update={name: weight * usd for name, usd in fixed}),
        }
    )


def _times(usd: float | None, weight: float) -> float | None:
    return None if usd is None else weight * usd
