"""Routing: what a snapshot means for requests. Built once per snapshot (or kill file), then only read.

    Target    one arm's upstream: name, model, version, deadlines
    Route     what a request needs of its route: the policy's view of it, targets, capture, stickiness, slices
    Routing   model name → Route; keys by digest; who sees which route

Pure: a snapshot, its settings and the kills in; values out. Must not know of upstream objects, stores or HTTP.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from types import MappingProxyType

from gateway.auth import by_digest
from gateway.fields import FieldPolicy, policy_of
from gateway.upstreams.base import Deadlines
from router.rollout import Rollout
from router.types import STUDENT, Arm, Capabilities, FallbackRule, RouteState, Sampling, UnitOf
from tutelage.contracts.keys import Key
from tutelage.contracts.parts import carve_outs_of, is_part, parts_of, whole_of
from tutelage.contracts.routes import RouteSettings
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import Snapshot
from tutelage.contracts.upstreams import CanSettings, UpstreamSettings

DEFAULT = "default"
PASSTHROUGH = "passthrough"
JUDGE = "judge:"
INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an arm's calls go, and which fields get there. `model` None: as the client named it."""

    upstream: str
    model: str | None
    version: str
    deadlines: Deadlines
    fields: FieldPolicy
    account_is_clients: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What a route lets be captured. `log`: off, metadata or full."""

    log: str = "off"
    purpose: str | None = None
    redact: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route at run time. `captured` is False for judges and for `default_upstream`. `slices`: (name, header).
    `successor` is a student that is asked beside the serving one. `parts` are routes by values of the slice `carved`: what has
    none of them is the route's own."""

    state: RouteState
    teacher: Target
    student: Target | None = None
    captured: bool = True
    capture: Capture = Capture()
    usage_injected: bool = False
    echoes_model: bool = False
    stickiness: tuple[str, ...] = ()
    slices: tuple[tuple[str, str], ...] = ()
    blind: bool = False
    epoch: str = ""
    successor: Target | None = None
    carved: str = ""
    parts: Mapping[str, "Route"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.state.name

    def target(self, arm: Arm) -> Target:
        """The arm's target; a route without a student has one arm."""
        return self.student if arm is STUDENT and self.student is not None else self.teacher

    def part(self, slices: Mapping[str, str]) -> "Route":
        """The part that a request with these slices is in."""
        return self.parts.get(slices.get(self.carved, ""), self) if self.parts else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """All routes of one snapshot. `exact` and `globs` are what data keys may ask for, `judges` what internal keys may too.

    `default` takes models that are no route, `passthrough` endpoints that are none of ours; None without a `default_upstream`.
    """

    generation: int
    sequence: int
    digest: str
    source: str
    upstreams: Mapping[str, UpstreamSettings]
    routes: tuple[Route, ...]
    exact: Mapping[str, Route]
    globs: tuple[tuple[re.Pattern[str], Route], ...]
    judges: Mapping[str, Route]
    default: Route | None
    passthrough: Route | None
    keys: Mapping[str, Key]
    kills: frozenset[str] = field(default_factory=frozenset)

    def find(self, model: str, role: str) -> Route | None:
        """The route of a model name: its own name, then `match` names, then globs in order, then `default_upstream`."""
        route = self.exact.get(model)
        if route is not None:
            return route
        if model.startswith(JUDGE):
            return self.judges.get(model) if role == INTERNAL else None
        for pattern, globbed in self.globs:
            if pattern.match(model):
                return globbed
        return self.default


def routing_of(snapshot: Snapshot, settings: Settings, kills: frozenset[str], source: str) -> Routing:
    """What `snapshot` means; `settings` are the ones published in it, `kills` routes with a kill file."""
    routes = tuple(_whole(name, settings, snapshot, kills) for name in settings.routes if not is_part(name))
    rest = settings.default_upstream
    exact: dict[str, Route] = {}
    globs: list[tuple[re.Pattern[str], Route]] = []
    for route in routes:
        exact[route.name] = route
    for route in routes:
        for pattern in settings.routes[route.name].match:
            if any(character in pattern for character in "*?["):
                globs.append((re.compile(translate(pattern)), route))
            else:
                exact.setdefault(pattern, route)
    return Routing(
        generation=snapshot.generation,
        sequence=snapshot.sequence,
        digest=snapshot.config.digest,
        source=source,
        upstreams=MappingProxyType(dict(settings.upstreams)),
        routes=routes,
        exact=MappingProxyType(exact),
        globs=tuple(globs),
        judges=MappingProxyType({JUDGE + name: _judge(name, settings) for name in settings.upstreams}),
        default=None if rest is None else _default(DEFAULT, rest, settings),
        passthrough=None if rest is None else _default(PASSTHROUGH, rest, settings),
        keys=MappingProxyType(by_digest(snapshot.keys)),
        kills=kills,
    )


def _whole(name: str, settings: Settings, snapshot: Snapshot, kills: frozenset[str]) -> Route:
    """The route that clients name, with its parts."""
    route, carved = _route(name, settings, snapshot, kills), carve_outs_of(settings.routes[name])
    if carved is None:
        return route
    parts = parts_of(settings.routes, name).items()
    found = {value: _route(part, settings, snapshot, kills) for value, part in parts}
    return replace(route, carved=carved.slice, parts=MappingProxyType(found))


def _route(name: str, settings: Settings, snapshot: Snapshot, kills: frozenset[str]) -> Route:
    """One route or part. A kill file for a route is for all of its parts."""
    route, rollout = settings.routes[name], snapshot.rollouts.get(name)
    killed = rollout is None or not kills.isdisjoint((name, whole_of(name)))
    serving = _serving(route, rollout, settings)
    student = None if serving is None else settings.upstreams[serving]
    return Route(
        state=RouteState(
            name=name,
            teacher=route.teacher,
            student=serving,
            share_bp=0 if killed or rollout is None else rollout.share_in_force_bp,
            revision=0 if rollout is None else rollout.revision,
            salt=name if rollout is None else rollout.salt,
            unit=UnitOf(route.unit),
            fallback=FallbackRule(route.fallback),
            can=Capabilities() if student is None else _capabilities(student.can),
            sampling=snapshot.samplings.get(name, Sampling()),
        ),
        teacher=_target(route.teacher, settings.upstreams[route.teacher]),
        student=None if serving is None or student is None else _target(serving, student),
        capture=Capture(
            log=route.capture.content, purpose=route.capture.purpose, redact=frozenset(route.capture.redact)
        ),
        usage_injected=route.usage == "inject",
        echoes_model=route.model == "echo",
        stickiness=route.stickiness,
        slices=tuple(route.slices.headers.items()),
        blind=route.blind,
        epoch="" if rollout is None else rollout.epoch,
        successor=_successor(rollout, settings),
    )


def _serving(route: RouteSettings, rollout: Rollout | None, settings: Settings) -> str | None:
    """The upstream of the student that the rollout knows: while a successor is measured, not the one that is declared."""
    if route.student is None or rollout is None:
        return route.student
    name, _, version = rollout.student.partition("@")
    found = settings.upstreams.get(name)
    return name if found is not None and found.version == version else route.student


def _successor(rollout: Rollout | None, settings: Settings) -> Target | None:
    if rollout is None or rollout.successor is None:
        return None
    name = rollout.successor.student.partition("@")[0]
    return _target(name, settings.upstreams[name]) if name in settings.upstreams else None


def _judge(upstream: str, settings: Settings) -> Route:
    return _one_armed(JUDGE + upstream, upstream, settings)


def _default(name: str, upstream: str, settings: Settings) -> Route:
    """Models nobody configured keep their names, but where a name could steer a translating upstream elsewhere."""
    route = _one_armed(name, upstream, settings)
    if settings.upstreams[upstream].kind == "litellm":
        return route
    return replace(route, teacher=replace(route.teacher, model=None))


def _one_armed(name: str, upstream: str, settings: Settings) -> Route:
    """No student, no fallback, no shadow, no capture."""
    return Route(
        state=RouteState(name=name, teacher=upstream, fallback=FallbackRule.NONE),
        teacher=_target(upstream, settings.upstreams[upstream]),
        captured=False,
    )


def _target(name: str, upstream: UpstreamSettings) -> Target:
    waits = upstream.deadlines
    return Target(
        upstream=name,
        fields=policy_of(name, upstream),
        model=upstream.model,
        version=upstream.version,
        account_is_clients=upstream.account == "client",
        deadlines=Deadlines(
            connect_s=waits.connect, first_token_s=waits.first_token, idle_s=waits.idle, total_s=waits.total
        ),
    )


def _capabilities(can: CanSettings) -> Capabilities:
    return Capabilities(
        context_tokens=can.context,
        tools=can.tools,
        structured=can.structured,
        vision=can.vision,
        audio=can.audio,
        logprobs=can.logprobs,
        endpoints=frozenset(can.endpoints),
    )
