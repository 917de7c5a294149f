"""The front: what every endpoint needs of the process, and the way from a request to an `Incoming`.

In order: authenticate (before the body is read), admit, read, parse, find the route and its part, name the user, decide what may
be kept. Each step may refuse. Must not know arms or upstreams. An endpoint is a file in `gateway/api` that names its path and
its form.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.admission import LOW, NORMAL, Admission, require_json
from gateway.auth import authenticate
from gateway.client import Client
from gateway.dispatch import Dispatcher
from gateway.errors import BadRequest, Forbidden, NotReady, Refusal, Unauthorized, UnknownModel
from gateway.exchange import Endpoint, Incoming
from gateway.metrics import Metrics
from gateway.needs import Names, needs_of
from gateway.quotas import Quota, Quotas
from gateway.request import Request
from gateway.routing import INTERNAL, PASSTHROUGH, Route, Routing
from gateway.upstreams.base import Headers
from gateway.wire import opaque, read_body
from router.stickiness import BODY, sticky_key
from router.types import Arm
from tutelage.capture.raw import RawPolicy
from tutelage.contracts.keys import Key
from tutelage.contracts.records import Feedback

MAX_SLICE_CHARS = 64
_LEVELS = ("off", "metadata", "full")

Named = Mapping[bytes, bytes]
"""The first value of each header."""


@dataclass(slots=True, kw_only=True)
class Front:
    """One process. `routing` is replaced, whole, when there is a new snapshot. `keep` is the spool's: it never waits."""

    routing: Routing
    admission: Admission
    quotas: Quotas
    dispatcher: Dispatcher
    metrics: Metrics
    keep: Callable[[Feedback], None]
    utc: Callable[[], float]
    monotonic: Callable[[], float]

    @property
    def ready(self) -> bool:
        """Whether new clients should come here."""
        return not self.admission.draining and bool(self.routing.keys)

    def key_of(self, headers: Headers, routing: Routing) -> Key:
        """Raises Unauthorized; NotReady while no key can be known."""
        try:
            return authenticate(headers, routing.keys)
        except Unauthorized:
            if routing.source == "configuration" and not routing.keys:
                raise NotReady from None
            raise

    async def serve(self, endpoint: Endpoint, request_id: str, request: Request) -> None:
        """One request of `endpoint`. Raises the Refusal that the client must be told."""
        headers = request.headers
        routing = self.routing
        key = self.key_of(headers, routing)
        if not endpoint.opaque:
            require_json(request.named)
        client = Client(request)
        self.admission.enter(client, LOW if key.role == INTERNAL else NORMAL)
        quota: Quota | None = None
        try:
            quota = self.quotas.enter(key)
            raw = self.admission.read_at_once(request)
            if raw is None:
                raw = await self.admission.read(request)
            client.held_bytes = len(raw)
            incoming = self._incoming(endpoint, request_id, routing, key, request, raw, quota)
            if quota is not None:
                quota.reserve(incoming.needs)
            await self.dispatcher.serve(incoming, client)
            if client.behind:
                await client.taken()
        finally:
            if quota is not None:
                quota.leave()
            self.admission.memory.taken_bytes -= client.held_bytes
            self.admission.leave(client)

    def _incoming(  # noqa: PLR0917 the steps' results, in their order
        self,
        endpoint: Endpoint,
        request_id: str,
        routing: Routing,
        key: Key,
        request: Request,
        raw: bytes,
        quota: Quota | None,
    ) -> Incoming:
        began = self.monotonic()
        named = request.named
        body = opaque(raw) if endpoint.opaque else read_body(raw)
        route = _route(endpoint, routing, key, body.model)
        slices = _slices(named, route)
        route = route.part(slices)
        pinned = _pinned(named, key, route)
        names = Names(key.tenant, named, body)
        source, sticky = (BODY, request_id) if endpoint.opaque else sticky_key(route.stickiness, names)
        return Incoming(
            id=request_id,
            endpoint=endpoint,
            route=route,
            routing=routing,
            key=key,
            headers=request.headers,
            body=body,
            needs=needs_of(body, endpoint.name),
            sticky_source=source,
            sticky_key=sticky,
            pinned=pinned,
            policy=_policy(named, request.headers, key, route),
            slices=slices,
            admitted_at=self.utc(),
            began=began,
            quota=quota,
        )


def _route(endpoint: Endpoint, routing: Routing, key: Key, model: str) -> Route:
    """Raises UnknownModel, or BadRequest where none is named and one must be."""
    if endpoint.opaque:
        route = routing.passthrough
    elif model:
        route = routing.find(model, key.role)
    else:
        route = None if endpoint.model_required else routing.default
    if route is not None:
        return route
    raise UnknownModel(model) if model else _nameless()


def _nameless() -> Refusal:
    return BadRequest("You must provide a model parameter.", param="model", code="missing_required_parameter")


def _pinned(named: Named, key: Key, route: Route) -> Arm | None:
    value = named.get(b"x-tutelage-arm")
    if value is None:
        return None
    if not key.may_pin:
        raise Forbidden("This key may not choose an arm: x-tutelage-arm needs a key made with --may-pin.")
    try:
        arm = Arm(value.decode("latin-1").strip().lower())
    except ValueError:
        raise BadRequest("x-tutelage-arm must be teacher or student.", code="invalid_header") from None
    if arm is Arm.STUDENT and route.name == PASSTHROUGH:
        raise BadRequest("What is passed through has one arm: leave x-tutelage-arm out.", code="no_student")
    if arm is Arm.STUDENT and route.student is None:
        raise BadRequest(f"The model {route.name!r} has no student to choose.", code="no_student")
    return arm


def _policy(named: Named, headers: Headers, key: Key, route: Route) -> RawPolicy:
    """Route, key and request combined: the strictest wins."""
    level = _LEVELS.index(route.capture.log if key.may_log else "off")
    if b"x-tutelage-log" in named:
        level = min(level, _asked_level(headers))
    train = named.get(b"x-tutelage-train")
    if train is not None and train.strip().lower() != b"deny":
        raise BadRequest("x-tutelage-train knows one value: deny.", code="invalid_header")
    return RawPolicy(
        log=_LEVELS[level],
        train=key.may_train and train is None,
        purpose=route.capture.purpose,
        redact=route.capture.redact,
    )


def _asked_level(headers: Headers) -> int:
    """The strictest of what the client asks for, however many lines it takes for that."""
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-tutelage-log"]
    wanted = [each.strip().lower() for line in lines for each in line.split(",")]
    if not all(each in _LEVELS for each in wanted):
        raise BadRequest("x-tutelage-log must be off, metadata or full.", code="invalid_header")
    return min(map(_LEVELS.index, wanted))


def _slices(named: Named, route: Route) -> dict[str, str]:
    """Bounded: a slice's value becomes a name in evidence."""
    found: dict[str, str] = {}
    for name, source in route.slices:
        value = named.get(source.encode("latin-1"))
        if value is not None and value.strip():
            found[name] = value.decode("latin-1").strip()[:MAX_SLICE_CHARS]
    return found
