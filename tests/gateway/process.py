"""The gateway as a process of its own: started, read and ended as an operator's supervisor does."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.snapshots import snapshot_of
from tests.gateway.harness import KEYS, PATIENCE_S, until
from tutelage.contracts.keys import Key
from tutelage.contracts.load import validated
from tutelage.store.registry import open_store

MAX_LINE_BYTES = 2**24
"""A line of the log may hold a traceback."""


@dataclass
class Process:
    """One gateway process at work."""

    child: asyncio.subprocess.Process
    lines: list[dict[str, Any]]
    """What it logged."""

    def said(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self.lines if line["event"] == event), None)

    @property
    def url(self) -> str:
        serving = self.said("serving")
        assert serving is not None
        return f"http://127.0.0.1:{serving['port']}"

    @property
    def own_url(self) -> str:
        serving = self.said("serving")
        assert serving is not None
        return f"http://127.0.0.1:{serving['own_port']}"

    async def terminated(self) -> int:
        self.child.terminate()
        return await asyncio.wait_for(self.child.wait(), PATIENCE_S)


@asynccontextmanager
async def process(configuration: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """The process, once it serves or has ended. `environment` is added to this one's."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "--config", str(configuration)),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        limit=MAX_LINE_BYTES,
    )
    lines: list[dict[str, Any]] = []

    async def read() -> None:
        assert child.stderr is not None
        async for line in child.stderr:
            lines.append(json.loads(line))

    reading = asyncio.ensure_future(read())
    at_work = Process(child, lines)
    try:
        await until(lambda: at_work.said("serving") is not None or child.returncode is not None, 2 * PATIENCE_S)
        yield at_work
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
            await child.wait()
        await reading


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def publish(content: dict[str, Any], keys: Iterable[Key] = KEYS) -> None:
    """Put the configuration and `keys` into its store, as control would."""
    settings = validated(content, "test")
    store = open_store(settings.store.url)
    for key in keys:
        store.put_key(key)
    store.publish(snapshot_of(settings).config)
    store.close()
