"""Everything else under /v1 (files, batches, audio, images, moderations, …): relayed to `default_upstream` unchanged.

Any body, any of `METHODS`; counted under the route `passthrough`, not captured, never shadowed, never sent twice. Whoever has a
key acts there with the gateway's own key of the provider: what one tenant stores, another can read.
"""

from typing import Any
from urllib.parse import unquote

from gateway.errors import NotPassedOn, Refusal, UnknownPath, WrongMethod
from gateway.exchange import Endpoint
from gateway.relay import ANY
from gateway.routing import Routing

PREFIX = "/v1/"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NAME = "passthrough"


def endpoint_of(scope: dict[str, Any], routing: Routing, allowed: str | None) -> Endpoint:
    """What a request asks for as the default upstream knows it. `allowed` is the method that the gateway itself serves there.

    Raises UnknownPath, WrongMethod, NotPassedOn.
    """
    path, method = scope["path"], scope["method"]
    raw: bytes = scope["raw_path"].partition(b"?")[0]
    if not raw.startswith(PREFIX.encode()) or _climbs(path):
        raise UnknownPath(method, path)
    if routing.passthrough is None:
        raise _refusal(method, path, allowed)
    if method not in METHODS:
        raise WrongMethod(method, ", ".join(METHODS))
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return Endpoint(
        name=NAME, method=method, path=(raw[len(PREFIX) - 1 :] + query).decode("latin-1"), form=ANY, opaque=True
    )


def _climbs(path: str) -> bool:
    """Whether the path leaves the place that it begins at, now or after being decoded once more."""
    return any(part in (".", "..") for text in (path, unquote(path)) for part in text.replace("\\", "/").split("/"))


def _refusal(method: str, path: str, allowed: str | None) -> Refusal:
    return NotPassedOn(method, path) if allowed is None else WrongMethod(method, allowed)
