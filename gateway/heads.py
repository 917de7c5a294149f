"""Heads: what the lines of a request's head mean, worked out once for all requests that bring the same lines.

Clients say nearly the same with every request. What differs each time (`OWN`, and the names by which routes know a user) is not
compared, and goes up line by line; the rest is looked up as a whole. Nothing that is remembered outlives its routing, so a
revoked key and a changed route are obeyed with the next request; refusals are not remembered.

What is looked up holds keys in plain, as the requests do: in this memory only, as long as the routing, and found by Python's
seeded hash, so that no time tells anything of a key. Must not know bodies or sockets.
"""

from collections.abc import Mapping

import msgspec

from gateway.auth import authenticate
from gateway.errors import BadRequest
from gateway.routing import Routing
from gateway.terms import TERMS, Terms
from gateway.upstreams.base import Headers, joined
from gateway.wire import ACCOUNT, account_of, goes_up, named_by_connection, to_upstream
from router.stickiness import HEADER
from tutelage.contracts.keys import Key

MAX_HEADS = 1024
MAX_HEAD_BYTES = 4096
"""A longer head is read each time."""
MAX_MODELS = 16
"""Of one head: the names of models may be anybody's, where there is a `default_upstream`."""

OWN = frozenset({
    b"content-length", b"x-request-id", b"idempotency-key", b"traceparent", b"tracestate", b"baggage", b"b3", b"x-b3-spanid",
    b"x-b3-traceid", b"x-b3-parentspanid", b"x-datadog-trace-id", b"x-datadog-parent-id", b"x-datadog-tags", b"sentry-trace",
    b"x-amzn-trace-id", b"x-cloud-trace-context", b"uber-trace-id", b"x-correlation-id", b"x-tutelage-session",
})  # fmt: skip
"""What a request calls itself. A name that is missing here costs time only."""
_READ = TERMS | ACCOUNT | {b"authorization", b"connection", b"content-type"}
_IDENTITY = (b"accept-encoding", b"identity")
_JSON = (b"content-type", b"application/json")


class Head(msgspec.Struct, eq=False):
    """`headers` without what is the request's own. `as_json` and `as_it_came` are the lines that go up, joined, with the type of
    the body. `account` names whose account pays. `terms` are those of the models that were asked for."""

    headers: Headers
    key: Key
    as_json: bytes
    as_it_came: bytes
    account: Headers
    _hop: frozenset[bytes]
    _rising: frozenset[bytes]
    terms: dict[str, Terms] = {}

    def own(self, headers: Headers, named: Mapping[bytes, bytes]) -> Headers:
        """Of a whole head that has this meaning: the request's own lines that go up."""
        rising = self._rising
        if rising.isdisjoint(named):
            return ()
        return [line for line in headers if line[0] in rising and line[0] not in self._hop]

    def remember(self, model: str, terms: Terms) -> None:
        if len(self.terms) < MAX_MODELS:
            self.terms[model] = terms


class Heads:
    """The heads that were met under `routing`; the oldest makes room."""

    def __init__(self, routing: Routing) -> None:
        self.routing = routing
        self._own = OWN | _names_of_users(routing)
        self._rising = frozenset(filter(goes_up, self._own))
        self._passed_over = self._own - _READ - _names_of_slices(routing)
        self._known: dict[Headers, Head] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, headers: Headers) -> Head:
        """Raises Unauthorized."""
        over = self._passed_over
        compared = tuple([line for line in headers if line[0] not in over])
        head = self._known.get(compared)
        if head is None:
            head = self._read(compared)
            if sum(len(name) + len(value) for name, value in compared) <= MAX_HEAD_BYTES:
                if len(self._known) >= MAX_HEADS:
                    del self._known[next(iter(self._known))]
                self._known[compared] = head
        return head

    def _read(self, headers: Headers) -> Head:
        key = authenticate(headers, self.routing.keys)
        lines = [line for line in to_upstream(headers) if line[0] not in self._own]
        kind = [line for line in headers if line[0] == b"content-type"]
        as_json, as_it_came = joined([*lines, _JSON, _IDENTITY]), joined([*lines, *kind, _IDENTITY])
        if as_json is None or as_it_came is None:
            raise BadRequest("A header of the request holds a line break.", code="invalid_header")
        hop = named_by_connection(headers)
        return Head(headers, key, as_json, as_it_came, account_of(headers), hop, self._rising)


def _names_of_users(routing: Routing) -> frozenset[bytes]:
    """Headers by which a route keeps its users apart."""
    sources = (source for route in routing.routes for source in route.stickiness)
    return frozenset(
        source[len(HEADER) :].lower().encode("latin-1", "replace") for source in sources if source.startswith(HEADER)
    )


def _names_of_slices(routing: Routing) -> frozenset[bytes]:
    return frozenset(header.encode("latin-1") for route in routing.routes for _, header in route.slices)
