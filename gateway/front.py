"""The front: what every endpoint needs of the process, and the way from a request to an `Incoming`.

In order: authenticate (before the body is read), admit, read, parse, find the route and what the head asks for on it, name the
user. Each step may refuse. Must not know arms or upstreams. An endpoint is a file in `gateway/api` that names its path and
its form.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.admission import LOW, NORMAL, Admission, require_json
from gateway.client import Client
from gateway.dispatch import Dispatcher
from gateway.errors import BadRequest, NotReady, Refusal, Unauthorized, UnknownModel
from gateway.exchange import Endpoint, Incoming
from gateway.heads import Head, Heads
from gateway.metrics import Metrics
from gateway.needs import Names, needs_of
from gateway.quotas import Quota, Quotas
from gateway.request import Request
from gateway.routing import INTERNAL, Route, Routing
from gateway.terms import terms_of
from gateway.upstreams.base import Headers
from gateway.wire import client_id, opaque, read_body
from router.stickiness import BODY, sticky_key
from tutelage.contracts.keys import Key
from tutelage.contracts.records import Feedback


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
    _heads: Heads = field(init=False)

    def __post_init__(self) -> None:
        self._heads = Heads(self.routing)

    @property
    def ready(self) -> bool:
        """Whether new clients should come here."""
        return not self.admission.draining and bool(self.routing.keys)

    def head_of(self, headers: Headers) -> Head:
        """What a request's head means under the routing in force. Raises Unauthorized; NotReady while no key can be known."""
        routing, heads = self.routing, self._heads
        if heads.routing is not routing:
            heads = self._heads = Heads(routing)
        try:
            return heads.of(headers)
        except Unauthorized:
            if routing.source == "configuration" and not routing.keys:
                raise NotReady from None
            raise

    async def serve(self, endpoint: Endpoint, request_id: str, request: Request) -> None:
        """One request of `endpoint`. Raises the Refusal that the client must be told."""
        head = self.head_of(request.headers)
        routing, key = self.routing, head.key
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
            incoming = self._incoming(endpoint, request_id, routing, head, request, raw, quota)
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
        head: Head,
        request: Request,
        raw: bytes,
        quota: Quota | None,
    ) -> Incoming:
        began = self.monotonic()
        named, key = request.named, head.key
        body = opaque(raw) if endpoint.opaque else read_body(raw)
        terms = head.terms.get(body.model)
        if terms is None:
            terms = terms_of(head.headers, key, _route(endpoint, routing, key, body.model))
            if body.model:
                head.remember(body.model, terms)
        route = terms.route
        names = Names(key.tenant, named, body)
        source, sticky = (BODY, request_id) if endpoint.opaque else sticky_key(route.stickiness, names)
        return Incoming(
            request_id,
            endpoint,
            routing,
            key,
            route,
            head,
            head.own(request.headers, named),
            client_id(named),
            body,
            needs_of(body, endpoint.name),
            source,
            sticky,
            terms.pinned,
            terms.policy,
            terms.slices,
            quota,
            self.utc(),
            began,
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
