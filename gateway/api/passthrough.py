"""Everything else under /v1 (files, batches, audio, images, moderations, …): relayed to `default_upstream` unchanged.

Any body, any of `METHODS`; counted under the route `passthrough`, not captured, never shadowed, never sent twice but as
`Call.repeatable` says. Whoever has a key acts there with the gateway's own key of the provider: what one tenant stores, another
can read. Where that must not be, keys are made without the right (`Key.may_pass_through`).
"""

from urllib.parse import unquote

from gateway.errors import Forbidden, NotPassedOn, NoWebSocket, Refusal, UnknownPath, WrongMethod
from gateway.exchange import Endpoint
from gateway.relay import ANY
from gateway.request import Request
from gateway.routing import Routing
from tutelage.contracts.keys import Key

PREFIX = "/v1/"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NAME = "passthrough"


def endpoint_of(request: Request, routing: Routing, allowed: str | None) -> Endpoint:
    """What a request asks for as the default upstream knows it. `allowed` is the method that the gateway itself serves there.

    Raises UnknownPath, WrongMethod, NotPassedOn, NoWebSocket.
    """
    path, method = request.path, request.method
    target = request.target.partition(b"#")[0]
    if not target.startswith(PREFIX.encode()) or _climbs(path):
        raise UnknownPath(method, path)
    if routing.passthrough is None:
        raise _refusal(method, path, allowed)
    if method not in METHODS:
        raise WrongMethod(method, ", ".join(METHODS))
    if request.named.get(b"upgrade", b"").strip().lower() == b"websocket":
        raise NoWebSocket
    return Endpoint(name=NAME, method=method, path=target[len(PREFIX) - 1 :].decode("latin-1"), form=ANY, opaque=True)


def require_allowed(key: Key) -> None:
    """Raises Forbidden."""
    if not key.may_pass_through:
        raise Forbidden("This key may use the gateway's own endpoints only: it was made with --no-pass-through.")


def _climbs(path: str) -> bool:
    """Whether the path leaves the place that it begins at, now or after being decoded once more. `..;x` is `..` to some."""
    texts = (text.replace("\\", "/") for text in (path, unquote(path)))
    return any(part.partition(";")[0] in (".", "..") for text in texts for part in text.split("/"))


def _refusal(method: str, path: str, allowed: str | None) -> Refusal:
    return NotPassedOn(method, path) if allowed is None else WrongMethod(method, allowed)
