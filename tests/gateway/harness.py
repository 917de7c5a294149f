"""A whole gateway in this process's loop: real server, client, spool, breaker; a store in memory; model servers beside it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import openai

from gateway.app import Gateway, Wiring
from gateway.pressure import Pressure
from gateway.snapshots import snapshot_of
from router.rollout import Phase, Rollout
from router.stages import Ladder
from router.types import Mode, Sampling
from tests.gateway.model_server import ModelServer
from tutelage.capture.spooled import read_spooled
from tutelage.contracts.keys import Key
from tutelage.contracts.load import validated
from tutelage.contracts.parts import with_parts
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import Snapshot
from tutelage.store.spool import read_after, spools

KEY = "tut-data"
PINNER = "tut-pinner"
INTERNAL = "tut-internal"
PRIVATE = "tut-private"
OWN_ONLY = "tut-own-only"
PATIENCE_S = 30.0
"""What comes at once may take this long where others have the machine. Nobody waits for it but a test that fails."""


def key(plain: str, **more: Any) -> Key:
    return Key(
        id=f"id-{plain}", digest=sha256(plain.encode()).hexdigest(), tenant="acme", label="", created_at=0.0, **more
    )


KEYS = (
    key(KEY),
    key(PINNER, may_pin=True),
    key(INTERNAL, role="internal", may_pin=True, may_log=False),
    key(PRIVATE, may_log=False),
    key(OWN_ONLY, may_pass_through=False),
    key("tut-admin", role="admin"),
    key("tut-revoked", revoked_at=1.0),
)


class Still:
    """No pulse: this loop runs the clients and the models too, and says nothing of the gateway's load."""

    def __init__(self, _: Pressure) -> None:
        pass

    def stop(self) -> None:
        pass


class MemoryStore:
    """What a gateway reads of the store. `broken` makes every call fail."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.current = snapshot
        self.broken = False
        self.reads = 0

    def sequence(self) -> int:
        if self.broken:
            raise OSError("the store is gone")
        return 0 if self.current is None else self.current.sequence

    def snapshot(self) -> Snapshot | None:
        self.reads += 1
        return self.current

    def keys(self) -> tuple[Key, ...]:
        return KEYS

    def close(self) -> None:
        pass

    def publish(self, **changes: Any) -> None:
        assert self.current is not None
        self.current = replace_snapshot(self.current, sequence=self.current.sequence + 1, **changes)


def replace_snapshot(snapshot: Snapshot, **changes: Any) -> Snapshot:
    return Snapshot(**{name: getattr(snapshot, name) for name in snapshot.__struct_fields__} | changes)


def document(teacher: str, student: str, data_dir: Path, **route: Any) -> dict[str, Any]:
    """A configuration with one split route, `chat`."""
    return {
        "data_dir": str(data_dir),
        "gateway": {"bind": "127.0.0.1:0", "metrics_port": 0, "drain_deadline": "5s"},
        "upstreams": {
            "big": {"kind": "openai", "base_url": teacher, "model": "big-1", "version": "t1"},
            "small": {
                "kind": "vllm",
                "base_url": student,
                "model": "small-1",
                "version": "s1",
                "can": {"tools": True, "structured": True},
            },
        },
        "routes": {
            "chat": {
                "match": ["gpt-4*"],
                "teacher": "big",
                "student": "small",
                "share": "50%",
                "capture": {"content": "full", "purpose": "tests"},
                **route,
            },
            "solo": {"teacher": "big"},
        },
    }


def rollout(share_bp: int, **changes: Any) -> Rollout:
    made = Rollout(
        route="chat",
        student="small@s1",
        mode=Mode.FIXED,
        ladder=Ladder(shares_bp=(0, 10_000)),
        epoch="e1",
        salt="salt",
        phase=Phase.MANUAL,
        share_bp=share_bp,
    )
    return replace(made, **changes)


@dataclass
class Running:
    """A gateway at work, its model servers and its store."""

    gateway: Gateway
    teacher: ModelServer
    student: ModelServer
    store: MemoryStore
    data_dir: Path
    settings: Settings
    task: "asyncio.Task[int]"
    closers: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def openai(self, api_key: str = KEY, **headers: str) -> openai.AsyncOpenAI:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client = openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=api_key, max_retries=0, timeout=PATIENCE_S, default_headers=named
        )
        self.closers.append(client.close)
        return client

    def http(self, api_key: str | None = KEY) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {api_key}"} if api_key is not None else {}
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE_S)
        self.closers.append(client.aclose)
        return client

    async def share(self, share_bp: int) -> None:
        """Publish another share and wait until it is in force."""
        await self.publish(rollouts={"chat": rollout(share_bp)})

    async def publish(self, **changes: Any) -> None:
        self.store.publish(**changes)
        wanted = self.store.sequence()
        await until(lambda: self.gateway.front.routing.sequence == wanted)

    async def stopped(self) -> int:
        self.gateway.stop()
        return await self.task

    def records(self) -> list[Exchange | ShadowAttempt]:
        rows = [row for path in spools(self.data_dir).values() for row in read_after(path, 0, 1_000_000)]
        return [record for row in rows if isinstance(record := read_spooled(row.body), Exchange | ShadowAttempt)]

    def exchanges(self) -> list[Exchange]:
        return [record for record in self.records() if isinstance(record, Exchange)]

    def shadows(self) -> list[ShadowAttempt]:
        return [record for record in self.records() if isinstance(record, ShadowAttempt)]

    async def exchange(self) -> Exchange:
        """The one exchange there is, as soon as it is durable."""
        await until(lambda: bool(self.exchanges()))
        (only,) = self.exchanges()
        return only


async def until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    teacher: ModelServer,
    student: ModelServer,
    data_dir: Path,
    *,
    share_bp: int = 0,
    sampling: Sampling | None = None,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    store: MemoryStore | None = None,
    **route: Any,
) -> AsyncIterator[Running]:
    """A gateway in front of two model servers; `route` are settings of the route `chat`, `change` edits the whole file."""
    configuration = document(teacher.url, student.url, data_dir, **route)
    change(configuration)
    settings = with_parts(validated(configuration, "test"))
    if store is None:
        store = MemoryStore(
            replace_snapshot(
                snapshot_of(settings, KEYS),
                generation=1,
                sequence=1,
                rollouts={"chat": rollout(share_bp)},
                samplings={"chat": sampling} if sampling is not None else {},
            )
        )
    gateway = Gateway(settings, 0, Wiring(open_source=lambda _: store, pulse=Still))
    task = asyncio.ensure_future(gateway.run())
    started = asyncio.ensure_future(gateway.started.wait())
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        task.result()
    at_work = Running(
        gateway=gateway, teacher=teacher, student=student, store=store, data_dir=data_dir, settings=settings, task=task
    )
    try:
        yield at_work
    finally:
        for close in at_work.closers:
            await close()
        if not task.done():
            await at_work.stopped()
        assert gateway.front.admission.memory.taken_bytes == 0
