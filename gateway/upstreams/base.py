"""The seam to upstreams: one call, its reply, and what can go wrong.

An `Upstream` relays bytes. It never reads or changes a body, never retries, never decides; breakers, fallback and capture are
the dispatcher's. Foreign exceptions end here: callers see `UpstreamError` only.

    UpstreamError               the upstream's fault; becomes 502 unless said otherwise
    ├── ConnectFailed           no connection: refused, DNS, TLS, pool exhausted
    ├── TimedOut                `which` deadline passed: connect, first_token, idle or total; 504
    ├── ReplyBroken             the connection ended or the framing broke inside the reply
    └── CallRefused             the call could not be sent as it is (unknown parameter of a translating upstream); 400

To add a provider with a dialect of its own: one file beside this one, one line in registry.py, and the contract suite
(`tests/gateway/upstreams/contract.py`) over it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

Headers = Sequence[tuple[bytes, bytes]]
"""Header lines in order, names in lower case."""


def joined(headers: Headers) -> bytes | None:
    """`headers` as they go over the wire; None where one holds a line break, and would be two."""
    lines = list(map(b": ".join, headers))
    text = b"".join(lines)
    if text.find(b"\r") >= 0 or text.find(b"\n") >= 0:
        return None
    lines.append(b"")
    return b"\r\n".join(lines)


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. `first_token_s` runs from the request's end to the first body byte, `idle_s` between two pieces of the body."""

    connect_s: float = 5.0
    first_token_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 600.0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an upstream. `path` is relative to the base URL ("/chat/completions"). `lines` are header lines that are
    joined already; with `headers` behind them they are complete but for Host, Content-Length and Authorization, which the
    upstream sets. `affinity` keeps a session on one replica; `avoid` names the replica that has just failed this request.
    `repeatable` False: what was written is not written again, whatever came of it."""

    method: str
    path: str
    lines: bytes = b""
    headers: Headers
    body: bytes
    deadlines: Deadlines
    affinity: str | None = None
    avoid: str | None = None
    repeatable: bool = True


class Reply(Protocol):
    """An answer whose head has arrived. `replica` names who gave it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def replica(self) -> str: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, unchanged, once. Raises ReplyBroken or TimedOut; never ends early without raising."""

    async def aclose(self) -> None:
        """Give the connection back where the body was read to its end, else close it. Idempotent, prompt, never raises."""


Take = Callable[[bytes], bool]
"""Takes a piece of a body at once; False where the next one should wait for room."""

Room = Callable[[], Awaitable[None]]
"""Returns when there is room again."""


Pour = Callable[[Take, Room], Awaitable[None]]
"""What `Reply.chunks` gives may have a method `pour` of this kind: it hands over every piece that is left where it arrives, so
that a long stream wakes no task for each of them, and returns at the end of the body. Raises as `chunks` does."""

Whole = Callable[[], bytes | None]
"""What `Reply.chunks` gives may have a method `whole` of this kind: all that is left of the body, where it has arrived to its
end, and then the reply is closed; None where it must be waited for."""


class Upstream(Protocol):
    """One callable endpoint of an arm or judge, safe for concurrent use."""

    @property
    def name(self) -> str: ...

    @property
    def hidden(self) -> Sequence[bytes]:
        """What no client may read in its errors: its key and its addresses. Empty where they hold neither."""

    async def open(self, call: Call) -> Reply:
        """Send `call`; return when the head is there. Either a Reply that must be closed or an UpstreamError, never both.

        Cancelling it closes the connection.
        """

    async def aclose(self) -> None:
        """Close every connection."""


class UpstreamError(Exception):
    """Base. `kind` is the error class that records and metrics show; `status` what the client gets for it; `replica` who it was,
    where there are several."""

    kind: str = "upstream"
    status: int = 502
    replica: str | None = None

    def __init__(self, upstream: str, detail: str) -> None:
        super().__init__(f"upstream {upstream!r}: {detail}")
        self.upstream = upstream
        self.detail = detail


class ConnectFailed(UpstreamError):
    """No connection could be had."""

    kind = "connect"


class TimedOut(UpstreamError):
    """A named deadline passed."""

    status = 504

    def __init__(self, upstream: str, which: str, after_s: float) -> None:
        super().__init__(upstream, f"no {which.replace('_', ' ')} within {after_s:g} s")
        self.kind = f"timeout_{which}"


class ReplyBroken(UpstreamError):
    """The reply began and could not be read to its end."""

    kind = "broken"


class CallRefused(UpstreamError):
    """A translating upstream cannot express this call."""

    kind = "refused"
    status = 400
