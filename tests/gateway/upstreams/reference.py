"""An upstream over httpx: what most people would write, and what the contract is held against.

A rule of the contract that only our own client could keep would say nothing of upstreams. Not part of the program: httpx scans
its pool on every request, so that a call costs more the more there are.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx

from gateway.upstreams.base import Call, ConnectFailed, Deadlines, Headers, ReplyBroken, TimedOut, UpstreamError


class HttpxReply:
    """An answer whose head has arrived. `first_token_at`, `total_at`: the loop's time."""

    def __init__(
        self, name: str, response: httpx.Response, deadlines: Deadlines, *, first_token_at: float, total_at: float
    ) -> None:
        self._name = name
        self._response = response
        self._deadlines = deadlines
        self._first_token_at = first_token_at
        self._total_at = total_at

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Headers:
        return [(name.lower(), value) for name, value in self._response.headers.raw]

    @property
    def replica(self) -> str:
        return str(self._response.url.netloc, "ascii")

    async def chunks(self) -> AsyncIterator[bytes]:
        pieces = self._response.aiter_raw()
        which, after_s, due_at = "first_token", self._deadlines.first_token_s, self._first_token_at
        while True:
            if self._total_at <= due_at:
                which, after_s, due_at = "total", self._deadlines.total_s, self._total_at
            try:
                async with asyncio.timeout_at(due_at):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise TimedOut(self._name, which, after_s) from None
            except httpx.HTTPError as fault:
                raise ReplyBroken(self._name, str(fault)) from fault
            if piece is None:
                return
            yield piece
            which, after_s = "idle", self._deadlines.idle_s
            due_at = asyncio.get_running_loop().time() + after_s

    async def aclose(self) -> None:
        with suppress(httpx.HTTPError):
            await self._response.aclose()


class HttpxUpstream:
    """One base URL."""

    hidden = ()

    def __init__(self, *, name: str, base_url: str, api_key: str, max_connections: int) -> None:
        self.name = name
        self._base_url = base_url
        self._api_key = api_key
        limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        self._client = httpx.AsyncClient(limits=limits, trust_env=False, follow_redirects=False)

    async def open(self, call: Call) -> HttpxReply:
        deadlines, now = call.deadlines, asyncio.get_running_loop().time()
        first_token_at, total_at = now + deadlines.first_token_s, now + deadlines.total_s
        request = self._client.build_request(
            call.method,
            self._base_url + call.path,
            headers=[
                *call.headers,
                (b"authorization", f"Bearer {self._api_key}".encode()),
                (b"accept-encoding", b"identity"),
            ],
            content=call.body,
            timeout=httpx.Timeout(None, connect=deadlines.connect_s),
        )
        try:
            async with asyncio.timeout_at(min(first_token_at, total_at)):
                response = await self._client.send(request, stream=True)
        except (TimeoutError, httpx.HTTPError) as fault:
            raise self._translated(fault, deadlines, total_first=total_at < first_token_at) from fault
        return HttpxReply(self.name, response, deadlines, first_token_at=first_token_at, total_at=total_at)

    def _translated(self, fault: Exception, deadlines: Deadlines, *, total_first: bool) -> UpstreamError:
        match fault:
            case httpx.ConnectTimeout():
                return TimedOut(self.name, "connect", deadlines.connect_s)
            case httpx.ConnectError() | httpx.PoolTimeout():
                return ConnectFailed(self.name, str(fault))
            case TimeoutError() if total_first:
                return TimedOut(self.name, "total", deadlines.total_s)
            case TimeoutError():
                return TimedOut(self.name, "first_token", deadlines.first_token_s)
            case _:
                return ReplyBroken(self.name, str(fault))

    async def aclose(self) -> None:
        await self._client.aclose()
