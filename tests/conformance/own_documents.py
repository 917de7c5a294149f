"""What the gateway itself promises, as OpenAPI documents: the data plane's endpoints, and the admin plane as FastAPI knows it.

A document says only what is the gateway's to say: of a request for a model that is `model` and `stream`; the rest is
the upstream's.
"""

from collections.abc import Mapping
from typing import Any, cast

from tests.conformance.installation import ROUTE
from tutelage.control.app import application
from tutelage.control.desk import Desk

BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}
OPEN = ("/livez", "/readyz", "/metrics")
"""Without a key."""
NOT_YET = "/admin/subjects/{subject_id}"
"""Answers 501, as docs/API.md says."""
_TEXT = {"type": ["string", "null"]}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "param": _TEXT, "code": _TEXT},
        }
    },
}
_REFUSED = {"description": "refused", "content": {"application/json": {"schema": _ERROR}}}
_OBJECT = {"schema": {"type": "object"}}


def data_plane() -> dict[str, Any]:
    """Chat, completions, embeddings, responses, feedback, models, health."""
    asked = {
        "type": "object",
        "required": ["model"],
        "properties": {"model": {"const": ROUTE}, "stream": {"type": "boolean"}},
    }
    uuid7 = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    thumb = {
        "type": "object",
        "required": ["request_id", "kind", "value"],
        "additionalProperties": False,
        "properties": {
            "request_id": {"type": "string", "pattern": uuid7},
            "kind": {"const": "thumb"},
            "value": {"enum": ["up", "down"]},
        },
    }
    streamed = {"application/json": _OBJECT, "text/event-stream": {}}
    paths: dict[str, Any] = {
        f"/v1/{name}": {"post": _operation(asked, {"200": {"description": "an answer", "content": streamed}})}
        for name in ("chat/completions", "completions", "embeddings", "responses")
    }
    paths["/v1/feedback"] = {"post": _operation(thumb, {"202": _json("taken")})}
    paths["/v1/models"] = {"get": _operation(None, {"200": _json("the routes")})}
    paths["/livez"] = paths["/readyz"] = {"get": {**_operation(None, {"200": _json("well")}), "security": []}}
    return _document("data plane", paths)


def admin_plane() -> dict[str, Any]:
    """FastAPI's document with the key and the error envelope, which it does not know of."""
    app = application(cast(Desk, None), lambda: b"", lambda: True)
    document = app.openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _REFUSED
            if path == "/metrics":
                operation["responses"]["200"] = {"description": "Prometheus", "content": {"text/plain": {}}}
            operation["security"] = [] if path in OPEN else [{"bearer": []}]
    del document["paths"][NOT_YET]
    document.setdefault("components", {})["securitySchemes"] = BEARER
    return document


def _document(title: str, paths: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"securitySchemes": BEARER},
    }


def _operation(body: Mapping[str, Any] | None, answers: Mapping[str, Any]) -> dict[str, Any]:
    sent = {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}} if body else {}
    return {**sent, "responses": {**answers, "default": _REFUSED}}


def _json(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": _OBJECT}}
