"""GET /v1/models and /v1/models/{id}: the routes as the models that a client may name.

Judge routes are nobody's models. Names that only `default_upstream` would take are not listed; asked for by name, they are passed
through to it. An id may hold slashes, raw or encoded: the path comes decoded.
"""

from typing import Any

from gateway.errors import UnknownModel
from gateway.front import Front
from gateway.upstreams.base import Headers

PATH = "/v1/models"


def is_ours(path: str) -> bool:
    """Whether this file answers for `path`."""
    return path == PATH or path.startswith(PATH + "/")


def answer(front: Front, headers: Headers, path: str) -> dict[str, Any] | None:
    """The list or one model; None where neither is ours to tell. Raises Unauthorized, UnknownModel."""
    if not is_ours(path):
        return None
    routing = front.routing
    front.key_of(headers, routing)
    if path == PATH:
        return {"object": "list", "data": [_model(route.name) for route in routing.routes]}
    name = path[len(PATH) + 1 :]
    route = routing.find(name, role="data")
    if route is None:
        raise UnknownModel(name)
    return None if route is routing.default else _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tutelage"}
