"""An upstream that answers from recordings of OpenAI's API, as pytest-recording keeps them: real traffic, with its real headers.

Each request names its recording (`x-recording`: module/test/number). A recording is answered to one body only, the first that
asked for it; of that body `model` may change, since a gateway sets it. Must not know whose recordings they are.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from aiohttp import web

HOST = "api.openai.com"
HEADER = "x-recording"
NOT_PLAYED = {"content-length", "content-encoding", "transfer-encoding", "connection"}
"""They describe the recorded message's own transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One answer, to a POST of `path`."""

    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@asynccontextmanager
async def recorded(cassettes: Path) -> AsyncIterator[str]:
    """The server of every recording in the folders of `cassettes`; its base URL."""
    known = recordings(cassettes)
    first: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.headers.get(HEADER, "")
        found = known.get(name)
        if found is None or found.path != request.path:
            return _error(404, f"no recording {name!r} of {request.path}")
        body = {key: value for key, value in (await request.json()).items() if key != "model"}
        if first.setdefault(name, body) != body:
            return _error(400, f"another body than the first for {name!r}")
        return web.Response(status=found.status, headers=found.headers, body=found.body)

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def recordings(cassettes: Path) -> dict[str, Recording]:
    """Answers of OpenAI's by name."""
    known: dict[str, Recording] = {}
    for file in cassettes.glob("*/*.yaml"):
        interactions = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)["interactions"]
        asked = [found for found in interactions if urlsplit(found["request"]["uri"]).hostname == HOST]
        for number, interaction in enumerate(asked):
            path = urlsplit(interaction["request"]["uri"]).path
            known[f"{file.parent.name}/{file.stem}/{number}"] = _recording(path, interaction["response"])
    return known


def _recording(path: str, answered: Mapping[str, Any]) -> Recording:
    if "parsed_body" in answered:
        body = json.dumps(answered["parsed_body"]).encode()
    else:
        said = answered["body"]["string"]
        body = said if isinstance(said, bytes) else said.encode()
    headers = {name: values[0] for name, values in answered["headers"].items() if name.lower() not in NOT_PLAYED}
    return Recording(path=path, status=answered["status"]["code"], headers=headers, body=body)


def _error(status: int, message: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status)
