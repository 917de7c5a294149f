"""A mock OpenAI server that costs next to nothing: `python -m loadtests.bench.upstream` prints its port and serves until ended.

A request is read no further than its length, whether it streams and what its text orders: `chunks=50 gap_ms=1` sends so
many events so far apart, each in a write of its own; with `then=hold` the stream then stays open until the client goes. A
plain answer comes after `gap_ms`, at once where nothing is ordered. Under `/student` another text is said, and under `/judge`
a verdict on two answers. `GET /stats` tells how many requests and events there were.
"""

import asyncio
import json
import re
from typing import Any

import uvloop

CONTENT = "The caller's invoice was charged twice in March; route to billing, priority high, refund 49.90. " * 2
_USAGE = {"prompt_tokens": 58, "completion_tokens": 50, "total_tokens": 108}
VERDICT = {"rationale": "Both route it; the first says what to do.", "a": {"useful": 3}, "b": {"useful": 2}}
_CHUNK = {"id": "chatcmpl-8f2a", "object": "chat.completion.chunk", "created": 1760000000, "model": "mock-1"}
_ORDER = re.compile(rb"chunks=(\d+) gap_ms=(\d+)( then=hold)?")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": *true')
_COUNTED = re.compile(rb'"include_usage": *true')
CHUNKS, GAP_MS = 50, 1


def _plain(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-request-id: req_8f2a\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def _event(data: Any) -> bytes:
    event = (
        b"data: " + (data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()) + b"\n\n"
    )
    return b"%x\r\n%b\r\n" % (len(event), event)


def _delta(delta: dict[str, str], finish: str | None) -> bytes:
    return _event({**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _answer(content: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    whole = {"id": "chatcmpl-8f2a", "object": "chat.completion", "created": 1760000000, "model": "mock-1"}
    return _plain(json.dumps({**whole, "choices": [choice], "usage": _USAGE}, separators=(",", ":")).encode())


ANSWER, OTHER, JUDGED = _answer(CONTENT), _answer(CONTENT.upper()), _answer(json.dumps(VERDICT))
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_8f2a\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
FIRST, WORD, LAST = (
    _delta({"role": "assistant", "content": ""}, None),
    _delta({"content": " ticket"}, None),
    _delta({}, "stop"),
)
USAGE = _event({**_CHUNK, "choices": [], "usage": _USAGE})
END = _event(b"[DONE]") + b"0\r\n\r\n"


class Counts:
    """What this process has answered."""

    def __init__(self) -> None:
        self.requests = 0
        self.verdicts = 0
        self.events = 0
        self.open = 0


class Answering(asyncio.Protocol):
    """One connection: requests one after another."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._streams = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # TCP's

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_stream()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            self._answer(request, head)

    def _answer(self, request: bytes, head: int) -> None:
        if request.startswith(b"GET"):
            self._transport.write(self._got(request))
            return
        self._counts.requests += 1
        order = _ORDER.search(request, head)
        if not _STREAM.search(request, head):
            self._say(self._said(request), int(order[2]) / 1000 if order else 0.0)
            return
        events, gap_ms, hold = (int(order[1]), int(order[2]), bool(order[3])) if order else (CHUNKS, GAP_MS, False)
        end = (USAGE if _COUNTED.search(request, head) else b"") + END
        self._streams = True
        self._counts.open += 1
        self._transport.write(HEAD + FIRST)
        self._next(events - 1, gap_ms / 1000, None if hold else end)

    def _said(self, request: bytes) -> bytes:
        if request.startswith(b"POST /judge"):
            self._counts.verdicts += 1
            return JUDGED
        return OTHER if request.startswith(b"POST /student") else ANSWER

    def _say(self, answer: bytes, after_s: float) -> None:
        if after_s:
            self._timer = self._loop.call_later(after_s, self._transport.write, answer)
        else:
            self._transport.write(answer)

    def _next(self, left: int, gap_s: float, end: bytes | None) -> None:
        """Count the event that was sent; the next one later. The last one closes the stream unless it is held."""
        self._counts.events += 1
        if left > 1 or (left == 1 and end is None):
            self._timer = self._loop.call_later(gap_s, self._word, left - 1, gap_s, end)
        elif end is not None:
            self._timer = self._loop.call_later(gap_s, self._last, end)

    def _word(self, left: int, gap_s: float, end: bytes | None) -> None:
        self._transport.write(WORD)
        self._next(left, gap_s, end)

    def _last(self, end: bytes) -> None:
        self._counts.events += 1
        self._transport.write(LAST + end)
        self._end_stream()

    def _end_stream(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._streams:
            self._streams = False
            self._counts.open -= 1

    def _got(self, request: bytes) -> bytes:
        path = request.split(b" ", 2)[1]
        if path == b"/stats":
            counts = self._counts
            return _plain(json.dumps(vars(counts)).encode())
        if path.endswith(b"/models"):
            return _plain(b'{"object":"list","data":[{"id":"mock-1","object":"model","created":0,"owned_by":"mock"}]}')
        return _plain(b"{}")


async def serve() -> None:
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Answering(counts), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
