"""What the rules' tests share: a gateway process with a split in force, a client that keeps what it saw, raw models."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.snapshots import snapshot_of
from gateway.upstreams.base import Call, Deadlines, Headers, UpstreamError
from gateway.upstreams.http import HttpPool
from router.types import Sampling
from tests.gateway.harness import KEY, KEYS, document, replace_snapshot, rollout
from tests.gateway.process import Process, process, written
from tests.gateway.upstreams.contract import EVENTS, JSON, completion, event
from tests.gateway.upstreams.server import Exchange
from tutelage.capture.spooled import read_spooled
from tutelage.contracts.load import validated
from tutelage.contracts.records import Exchange as Record
from tutelage.store.spool import read_after, spools

PATIENT = Deadlines(connect_s=20, first_token_s=60, idle_s=60, total_s=300)
DONE = b"data: [DONE]\n\n"
EVERYTHING = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)


# --- models -----------------------------------------------------------------------------------------------------------


def model(name: str, *, wait_s: float = 0.0, tokens: int = 3) -> Callable[[Exchange], Awaitable[None]]:
    """A model that says its name, in one piece or in `tokens` events, after a wait."""

    async def script(exchange: Exchange) -> None:
        if wait_s:
            await asyncio.sleep(wait_s)
        if json.loads(exchange.body).get("stream"):
            await exchange.begin_chunked(EVENTS)
            for _ in range(tokens):
                await exchange.chunk(event(f"{name} "))
            await exchange.chunk(event("", "stop") + DONE)
            await exchange.end_chunked()
        else:
            await exchange.answer(completion(name), headers=JSON)

    return script


# --- a client ---------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Answer:
    """What a client saw. `status` 0: no answer; `fault` where it ended badly; times from the request's start."""

    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    fault: str | None = None
    first_s: float = 0.0
    total_s: float = 0.0

    @property
    def arm(self) -> str:
        return dict(self.headers).get(b"x-tutelage-arm", b"").decode()


def client_of(url: str, connections: int = 512) -> HttpPool:
    """The gateway's own HTTP client, on the other side."""
    return HttpPool(upstream="gateway", base_url=f"{url}/v1", api_key=KEY, max_connections=connections)


def asking(model_name: str = "chat", content: str = "hello", headers: Headers = (), **fields: Any) -> Call:
    body = {"model": model_name, "messages": [{"role": "user", "content": content}], **fields}
    lines = [(b"content-type", b"application/json"), *headers]
    return Call(
        method="POST", path="/chat/completions", headers=lines, body=json.dumps(body).encode(), deadlines=PATIENT
    )


async def ask(pool: HttpPool, call: Call) -> Answer:
    """One request to its end; never raises for what the other side does."""
    began, answer, parts = time.perf_counter(), Answer(), list[bytes]()
    try:
        reply = await pool.open(call)
        answer.status, answer.headers = reply.status, reply.headers
        try:
            async for chunk in reply.chunks():
                answer.first_s = answer.first_s or time.perf_counter() - began
                parts.append(chunk)
        finally:
            await reply.aclose()
    except UpstreamError as fault:
        answer.fault = fault.kind
    answer.body = b"".join(parts)
    answer.total_s = time.perf_counter() - began
    return answer


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


# --- a process --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def gateway_process(
    teacher: str,
    student: str,
    data_dir: Path,
    *,
    share_bp: int = 0,
    sampling: Sampling | None = None,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
) -> AsyncIterator[Process]:
    """`python -m gateway` with a split in force, from the snapshot on its disk."""
    content = document(teacher, student, data_dir)
    content["gateway"]["processes"] = 1
    change(content)
    _keep_snapshot(content, data_dir, share_bp, sampling)
    async with process(written(data_dir / "tutelage.yaml", content)) as running:
        yield running


def _keep_snapshot(content: dict[str, Any], data_dir: Path, share_bp: int, sampling: Sampling | None) -> None:
    settings = validated(content, "test")
    samplings = {name: sampling for name in settings.routes if sampling is not None}
    rollouts = {name: rollout(share_bp, route=name) for name, route in settings.routes.items() if route.student}
    snapshot = replace_snapshot(
        snapshot_of(settings, KEYS), generation=1, sequence=1, rollouts=rollouts, samplings=samplings
    )
    (data_dir / "snapshot.json").write_bytes(msgspec.json.encode(snapshot))


def memory_bytes(pid: int) -> int:
    """What a process has resident."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def exchanges(data_dir: Path) -> list[Record]:
    rows = [row for path in spools(data_dir).values() for row in read_after(path, 0, 1_000_000)]
    return [record for row in rows if isinstance(record := read_spooled(row.body), Record)]
