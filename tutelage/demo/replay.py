"""Upstreams that answer from the recording: `/teacher/v1` and `/student/v1`, OpenAI-shaped, as a process of its own.

    python -m tutelage.demo.replay --recording FILE --port 8101 --student good --latency none

Answers are looked up by the messages' hash and sent as recorded; an input that was not recorded is an error, never a guess.
`PUT /student` with a model's name changes who answers as the student from then on, behind an unchanged version: a silent
regression. `--latency recorded` waits as long as the recorded call took.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from tutelage.demo.recording import GOOD, MODELS, TEACHER, Row, key_of, read

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_JSON = [(b"content-type", b"application/json")]


class _Asked(msgspec.Struct):
    messages: Any
    stream: bool = False


_asked: msgspec.json.Decoder[_Asked] = msgspec.json.Decoder(_Asked)


class Replay:
    """The ASGI application. `student` is the model that answers as the student now."""

    def __init__(self, rows: Mapping[str, Row], student: str, latency: str) -> None:
        self._rows = rows
        self.student = student
        self._waits = latency == "recorded"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        status, answer = await self.answer(scope["method"], scope["path"], body)
        await send({"type": "http.response.start", "status": status, "headers": _JSON})
        await send({"type": "http.response.body", "body": answer})

    async def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body for one request."""
        if method == "GET" and path == "/health":
            return 200, b"{}"
        if method == "PUT" and path == "/student":
            return self._change(body.decode("utf-8", "replace"))
        arm, _, rest = path.lstrip("/").partition("/")
        if method != "POST" or arm not in ("teacher", "student") or rest != "v1/chat/completions":
            return _error(404, f"nothing is replayed at {method} {path}", "unknown_url")
        return await self._completion(TEACHER if arm == "teacher" else self.student, body)

    def _change(self, model: str) -> tuple[int, bytes]:
        if model not in MODELS:
            return _error(400, f"{model!r} was not recorded; there are {', '.join(MODELS)}", "unknown_model")
        self.student = model
        return 200, b"{}"

    async def _completion(self, model: str, body: bytes) -> tuple[int, bytes]:
        try:
            asked = _asked.decode(body)
        except msgspec.DecodeError as fault:
            return _error(400, f"not a chat request: {fault}", "invalid_json")
        if asked.stream:
            return _error(400, "the recording holds plain answers; send stream: false", "not_recorded")
        row = self._rows.get(key_of(asked.messages))
        if row is None:
            return _error(400, "these messages were not recorded", "not_recorded")
        recorded = row.answers[model]
        if self._waits:
            await asyncio.sleep(recorded.total_ms / 1000)
        return 200, recorded.body.encode()


def _error(status: int, message: str, code: str) -> tuple[int, bytes]:
    envelope = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return status, msgspec.json.encode({"error": envelope})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--student", choices=MODELS, default=GOOD)
    parser.add_argument("--latency", choices=("none", "recorded"), default="none")
    given = parser.parse_args()
    application = Replay(read(given.recording), given.student, given.latency)
    uvicorn.run(application, host="127.0.0.1", port=given.port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
