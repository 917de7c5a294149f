"""GET /v1/models and /v1/models/{id}: the routes as the models that a client may name.

Judge routes are nobody's models; names that only `default_upstream` would take are not listed.
"""

from typing import Any

import msgspec

from gateway.api.health import Answer
from gateway.errors import UnknownModel
from gateway.front import Front
from gateway.upstreams.base import Headers

PATH = "/v1/models"


def answer(front: Front, headers: Headers, path: str) -> Answer:
    """Every route, or the model that `path` names (a route, or what one matches). Raises Unauthorized, UnknownModel."""
    routing = front.routing
    front.key_of(headers, routing)
    if path == PATH:
        return _json({"object": "list", "data": [_model(route.name) for route in routing.routes]})
    model = path.removeprefix(PATH + "/")
    route = routing.find(model, role="data")
    if route is None or route is routing.default:
        raise UnknownModel(model)
    return _json(_model(model))


def _json(value: dict[str, Any]) -> Answer:
    return 200, b"application/json", msgspec.json.encode(value)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tutelage"}
