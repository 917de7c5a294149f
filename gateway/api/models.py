"""GET /v1/models and /v1/models/{id}: the routes as the models that a client may name.

Judge routes are nobody's models; names that only `default_upstream` would take are not listed.
"""

from typing import Any

from gateway.errors import UnknownModel
from gateway.front import Front
from gateway.upstreams.base import Headers

PATH = "/v1/models"


def listed(front: Front, headers: Headers) -> dict[str, Any]:
    """Every route. Raises Unauthorized."""
    routing = front.routing
    front.key_of(headers, routing)
    return {"object": "list", "data": [_model(route.name) for route in routing.routes]}


def one(front: Front, headers: Headers, model: str) -> dict[str, Any]:
    """The model of that name, a route's own or one that it matches. Raises Unauthorized, UnknownModel."""
    routing = front.routing
    front.key_of(headers, routing)
    route = routing.find(model, role="data")
    if route is None or route is routing.default:
        raise UnknownModel(model)
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tutelage"}
