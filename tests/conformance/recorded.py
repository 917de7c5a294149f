"""An upstream that answers from recordings of OpenAI's API, as pytest-recording keeps them: real traffic, with its real headers.

A request is answered by the recording of the same path and body, `model` apart, which a gateway may change. What was not recorded
is a 404. Must not know whose recordings they are.
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
NOT_PLAYED = {"content-length", "content-encoding", "transfer-encoding", "connection"}
"""They describe the recorded message's own transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Key = tuple[str, str]


@asynccontextmanager
async def recorded(cassettes: Path) -> AsyncIterator[str]:
    """The server of every recording below `cassettes`; its base URL."""
    known = recordings(cassettes)

    async def answer(request: web.Request) -> web.StreamResponse:
        found = known.get(key_of(request.path, await request.json()))
        if found is None:
            error = {"message": "not recorded", "type": "invalid_request_error", "param": None, "code": None}
            return web.json_response({"error": error}, status=404)
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


def recordings(cassettes: Path) -> dict[Key, Recording]:
    """Of equal requests the first that was recorded."""
    known: dict[Key, Recording] = {}
    for file in sorted(cassettes.rglob("*.yaml")):
        for interaction in yaml.load(file.read_text(), Loader=yaml.CSafeLoader)["interactions"]:
            asked, answered = interaction["request"], interaction["response"]
            where = urlsplit(asked["uri"])
            if where.hostname == HOST and "parsed_body" in asked:
                known.setdefault(key_of(where.path, asked["parsed_body"]), _recording(answered))
    return known


def key_of(path: str, body: Any) -> Key:
    return path, json.dumps({name: value for name, value in body.items() if name != "model"}, sort_keys=True)


def _recording(answered: Mapping[str, Any]) -> Recording:
    if "parsed_body" in answered:
        body = json.dumps(answered["parsed_body"]).encode()
    else:
        text = answered["body"]["string"]
        body = text if isinstance(text, bytes) else text.encode()
    headers = {name: values[0] for name, values in answered["headers"].items() if name.lower() not in NOT_PLAYED}
    return Recording(status=answered["status"]["code"], headers=headers, body=body)
