"""What is attacked: a gateway process on a real store, and the canary that must be found in nothing it leaves behind.

Every key and every prompt in here holds CANARY. When a module's attacks are over, the process must still serve, end with code 0,
have logged no failure, and CANARY must stand in no line of its log and in no file of its data directory.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.gateway.harness import PATIENCE_S, until
from tests.gateway.model_server import ModelServer, Script, model_server
from tests.gateway.process import Process, process, publish, written
from tests.hostile.wire import Said, post, say
from tutelage.contracts.keys import Key
from tutelage.store.base import Store
from tutelage.store.registry import open_store

CANARY = "xyzzycanary"
CHAT = "/v1/chat/completions"
UPSTREAM_SECRET = "HOSTILE_UPSTREAM_KEY"
FAILURES = ("error", "critical")
HELD = ("01", "08")
"""ESTABLISHED and CLOSE_WAIT, as Linux writes them."""


def new_secret() -> str:
    return f"tut-{CANARY}-{secrets.token_urlsafe(24)}"


def key(plain: str, **more: Any) -> Key:
    return Key(
        id=secrets.token_hex(8),
        digest=sha256(plain.encode()).hexdigest(),
        tenant="acme",
        label="",
        created_at=0.0,
        **more,
    )


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Plain keys of every kind."""

    data: str
    admin: str
    revoked: str


@dataclass(kw_only=True)
class Target:
    """A gateway process under attack, and its one upstream."""

    process: Process
    upstream: ModelServer
    keys: Keys
    data_dir: Path
    store_url: str

    @property
    def port(self) -> int:
        return int(self.process.url.rpartition(":")[2])

    def store(self) -> Store:
        return open_store(self.store_url)

    async def say(self, data: bytes, **how: Any) -> Said:
        """`data` as it is, on a connection of its own; what came back."""
        return await say(self.port, data, **how)

    async def post(self, body: bytes, *lines: bytes, path: str = CHAT, key: str | None = None) -> Said:
        """A well-formed request with the good key; `lines` are further header lines."""
        authorization = b"authorization: Bearer " + (key or self.keys.data).encode()
        return await say(self.port, post(path, body, authorization, *lines))

    async def assert_serves(self) -> None:
        """The next request works."""
        answer = await self.post(b'{"model":"chat","messages":[{"role":"user","content":"hello"}]}')
        assert answer.status == 200, answer

    async def metrics(self) -> str:
        """The exposition of its own port."""
        own_port = int(self.process.own_url.rpartition(":")[2])
        return (await say(own_port, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")).body.decode()

    async def captured(self) -> None:
        """Nothing of earlier requests waits for the disk."""
        async with asyncio.timeout(PATIENCE_S):
            while "\ntutelage_gateway_capture_in_queue 0.0\n" not in await self.metrics():
                pass

    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.child.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def connections(self) -> int:
        """Connections of clients that the process still holds."""
        found = 0
        for line in Path(f"/proc/{self.process.child.pid}/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            found += int(local.rpartition(":")[2], 16) == self.port and state in HELD
        return found

    async def assert_at_base(self) -> None:
        """No connection and no request is left of what was done to it."""
        await until(lambda: self.connections() == 0)
        text = await self.metrics()
        assert "\ntutelage_gateway_open_requests 0.0\n" in text
        assert "\ntutelage_gateway_held_bytes 0.0\n" in text

    @contextmanager
    def answering(self, script: Script) -> Iterator[None]:
        """Within the block the upstream answers by `script`."""
        before, self.upstream.script = self.upstream.script, script
        try:
            yield
        finally:
            self.upstream.script = before


@asynccontextmanager
async def attacked(data_dir: Path, **change: Any) -> AsyncIterator[Target]:
    """A target, checked when the attacks are over. `change` is merged into the configuration's top level."""
    keys = Keys(data=new_secret(), admin=new_secret(), revoked=new_secret())
    async with model_server("teacher") as upstream:
        document = _document(upstream.url, data_dir) | change
        publish(document, (key(keys.data), key(keys.admin, role="admin"), key(keys.revoked, revoked_at=1.0)))
        configuration = written(data_dir / "tutelage.yaml", document)
        async with process(configuration, {UPSTREAM_SECRET: new_secret()}) as running:
            target = Target(
                process=running,
                upstream=upstream,
                keys=keys,
                data_dir=data_dir,
                store_url=f"sqlite:///{data_dir}/tutelage.db",
            )
            yield target
            await target.assert_serves()
            assert await running.terminated() == 0
        _assert_clean(running.lines)
        assert_no_canary(data_dir, repr(running.lines))


def _document(upstream: str, data_dir: Path) -> dict[str, Any]:
    """`chat` keeps no content, `kept` keeps it redacted."""
    return {
        "data_dir": str(data_dir),
        "gateway": {"bind": "127.0.0.1:0", "metrics_port": 0, "drain_deadline": "2s"},
        "upstreams": {
            "big": {"kind": "openai", "base_url": upstream, "model": "big-1", "api_key": f"${{{UPSTREAM_SECRET}}}"}
        },
        "routes": {
            "chat": {"teacher": "big", "capture": {"content": "metadata"}},
            "kept": {
                "teacher": "big",
                "capture": {"content": "full", "purpose": "tests", "redact": ["secrets", "contact"]},
            },
        },
    }


def _assert_clean(lines: list[dict[str, Any]]) -> None:
    """Nobody's input is an error of the gateway's."""
    failures = [line for line in lines if line["level"] in FAILURES or "exception" in line]
    assert not failures, json.dumps(failures[:3], indent=1)


def assert_no_canary(folder: Path, *texts: str) -> None:
    """Nothing secret was written down."""
    for text in texts:
        assert CANARY not in text
    for path in folder.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
