"""One request as values: what came in, and what has happened to it so far.

Must not know how it is read (`gateway.api`), asked (`attempt`) or decided (`dispatch`).
"""

import msgspec

from gateway.errors import Refusal
from gateway.heads import Head
from gateway.quotas import Quota
from gateway.relay import CHAT, Form
from gateway.routing import Route, Routing
from gateway.shadow import Slot
from gateway.upstreams.base import Headers
from gateway.wire import Body
from router.types import Arm, Needs, RoutePlan
from tutelage.capture.raw import RawAttempt, RawPolicy
from tutelage.contracts.keys import Key


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as arms know it: its name in records, its path below the base URL, the form of its answers.

    `model_required` False: without a `model` the request is `default_upstream`'s. `opaque`: relayed to `default_upstream` as it
    came, whatever it is, and never sent twice.
    """

    name: str
    path: str
    form: Form = CHAT
    method: str = "POST"
    model_required: bool = True
    opaque: bool = False


class Incoming(msgspec.Struct, frozen=True):
    """One request, read, authenticated and admitted. `own` are the lines that go up beside those of its head,
    `named_by_client` is its name where the client gave one. `began` is monotonic, `admitted_at` UTC seconds.

    Made by position: so many named fields would be looked for one by one."""

    id: str
    endpoint: Endpoint
    routing: Routing
    key: Key
    route: Route
    head: Head
    own: Headers
    named_by_client: bytes | None
    body: Body
    needs: Needs
    sticky_source: str
    sticky_key: str
    pinned: Arm | None
    policy: RawPolicy
    slices: dict[str, str]
    quota: Quota | None
    admitted_at: float
    began: float


class Serving(msgspec.Struct, kw_only=True):
    """What happened to one request so far."""

    plan: RoutePlan
    slot: Slot | None
    attempts: list[RawAttempt] = []
    held_bytes: int = 0
    upstream_s: float = 0.0
    status: int = 0
    served: Arm | None = None
    asked: Arm | None = None
    failed_replica: str | None = None
    out_of_retries: bool = False
    overhead_ms: float | None = None
    cause: str | None = None
    client_gone: bool = False
    cut: bool = False
    truncated: bool = False
    refusal: Refusal | None = None
