"""Embeddings, and files: what a client uploads it gets back, until it deletes it."""

import base64
import hashlib
import struct
from itertools import count

from aiohttp import web

from tests.conformance.obedient.words import Document, words_in

DIMENSIONS = 16
CREATED = 1_700_000_000


def embeddings(body: Document) -> Document:
    """A vector of what was said, the same for the same."""
    given = body["input"]
    told = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(repr(text), body)}
        for index, text in enumerate(told)
    ]
    used = words_in(told)
    return {
        "object": "list",
        "data": data,
        "model": body["model"],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _vector(text: str, body: Document) -> list[float] | str:
    numbers = body.get("dimensions") or DIMENSIONS
    digest = hashlib.shake_128(text.encode()).digest(numbers)
    vector = [byte / 256 for byte in digest]
    if body.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{numbers}f", *vector)).decode()
    return vector


def routes() -> list[web.RouteDef]:
    """A store of files of its own."""
    kept: dict[str, tuple[Document, bytes]] = {}
    numbers = count()

    async def create(request: web.Request) -> web.Response:
        form = await request.post()
        upload = form["file"]
        if not isinstance(upload, web.FileField):
            raise web.HTTPBadRequest
        content = upload.file.read()
        name = f"file-{next(numbers)}"
        document: Document = {
            "id": name, "object": "file", "bytes": len(content), "created_at": CREATED,
            "filename": upload.filename, "purpose": form["purpose"], "status": "processed",
        }  # fmt: skip
        kept[name] = (document, content)
        return web.json_response(document)

    async def describe(request: web.Request) -> web.Response:
        return web.json_response(_found(request)[0])

    async def read(request: web.Request) -> web.Response:
        return web.Response(body=_found(request)[1], content_type="application/octet-stream")

    async def delete(request: web.Request) -> web.Response:
        document, _ = _found(request)
        del kept[document["id"]]
        return web.json_response({"id": document["id"], "object": "file", "deleted": True})

    def _found(request: web.Request) -> tuple[Document, bytes]:
        found = kept.get(request.match_info["id"])
        if found is None:
            error = {"message": "no such file", "type": "invalid_request_error", "param": "id", "code": None}
            raise web.HTTPNotFound(text=web.json_response({"error": error}).text, content_type="application/json")
        return found

    return [
        web.post("/v1/files", create),
        web.get("/v1/files/{id}", describe),
        web.get("/v1/files/{id}/content", read),
        web.delete("/v1/files/{id}", delete),
    ]
