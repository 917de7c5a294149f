"""GET and HEAD /v1/models and /v1/models/{id}: the routes as the models that a client may name.

Judge routes are nobody's models. Names that only `default_upstream` would take are not listed; asked for by name, they are passed
through to it. An id may hold slashes, raw or encoded: the path comes decoded.
"""

from typing import Any

import msgspec

from gateway.api.health import Answer
from gateway.errors import UnknownModel
from gateway.front import Front
from gateway.upstreams.base import Headers

PATH = "/v1/models"


def is_ours(path: str) -> bool:
    """Whether this file answers for `path`."""
    return path == PATH or path.startswith(PATH + "/")


def answer(front: Front, headers: Headers, path: str) -> Answer | None:
    """Every route, or the model that `path` names (a route, or what one matches); None where only `default_upstream` can tell.

    Raises Unauthorized, UnknownModel.
    """
    routing = front.routing
    front.head_of(headers)  # who has a key may know them
    if path == PATH:
        return _json({"object": "list", "data": [_model(route.name) for route in routing.routes]})
    model = path.removeprefix(PATH + "/")
    route = routing.find(model, role="data")
    if route is None:
        raise UnknownModel(model)
    return None if route is routing.default else _json(_model(model))


def _json(value: dict[str, Any]) -> Answer:
    return 200, b"application/json", msgspec.json.encode(value)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tutelage"}
