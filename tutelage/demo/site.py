"""A site: one installation of the gateway in a folder of its own, set up as an operator would, and ended again.

Owns the configuration file, the keys and the processes of the demo. Must not know what is asked or what becomes of it.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml

from tutelage.contracts.errors import TutelageError
from tutelage.contracts.snapshot import SNAPSHOT
from tutelage.lifetime import ends_with_this_process

ROUTE = "sections"
READY_S = 120.0
STOP_S = 45.0
POLL_S = 0.1
PORTS = range(20_000, 32_000)
"""Below where Linux (32768) and macOS (49152) begin to give out ports."""


class SiteFailed(TutelageError):
    """A process of the demo did not start or ended; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running installation. `url` is the data plane's without `/v1`, `admin_url` the admin plane's, `pid` the
    supervisor's."""

    folder: Path
    config: Path
    url: str
    admin_url: str
    key: str
    admin_key: str
    pid: int = 0

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago, and that no system gives out by itself: what binds port 0 or
    connects meanwhile takes another, and who ends may bind it again.
    """
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _free_bind() -> str:
    return f"127.0.0.1:{free_port()}"


def _here(bind: str) -> str:
    """The URL of `bind` as this machine reaches it."""
    host, _, port = bind.rpartition(":")
    return f"http://{host if host not in ('', '0.0.0.0', '[::]') else '127.0.0.1'}:{port}"  # noqa: S104 - not bound here


@contextlib.asynccontextmanager
async def running_site(folder: Path, document: Mapping[str, Any]) -> AsyncIterator[Site]:
    """Write `document` into `folder`, make keys, serve until the block ends.

    Its data are in `folder`; where the document says nothing of them, `gateway` and `admin` listen on free ports.
    """
    complete: dict[str, Any] = {
        "data_dir": str(folder / "data"),
        "gateway": {"bind": _free_bind(), "processes": 1, "metrics_port": 0, "drain_deadline": "20s"},
        "admin": {"bind": _free_bind()},
        **document,
    }
    url, admin_url = _here(complete["gateway"]["bind"]), _here(complete["admin"]["bind"])
    complete["internal"] = {"gateway_url": url, **complete.get("internal", {})}
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "tutelage.yaml"
    config.write_text(yaml.safe_dump(complete, sort_keys=False), encoding="utf-8")
    key, admin_key = await asyncio.gather(
        asyncio.to_thread(_new_key, config, "--may-pin"), asyncio.to_thread(_new_key, config, "--admin")
    )
    site = Site(folder=folder, config=config, url=url, admin_url=admin_url, key=key, admin_key=admin_key)
    serve = [sys.executable, "-m", "tutelage.cli.main", "serve", "--config", str(config)]
    async with running_process(serve, log=folder / "serve.log", ready_url=f"{site.url}/readyz") as pid:
        await _wait_until_up(f"{site.admin_url}/admin/routes", site.admin_key)
        split = {name for name, route in complete["routes"].items() if route.get("student")}
        await _wait_until_split(site.data_dir / SNAPSHOT, split)
        yield replace(site, pid=pid)


@contextlib.asynccontextmanager
async def running_process(
    argv: list[str], *, log: Path, ready_url: str, ready_s: float = READY_S
) -> AsyncIterator[int]:
    """Run `argv` until the block ends; yields its pid once `ready_url` answers 200. Raises SiteFailed where it does not."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting takes a millisecond, and nothing else runs yet
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ends_with_this_process(),  # noqa: PLW1509 - one system call, looked up before the fork
        )
    try:
        await _wait_ready(process, ready_url, log, ready_s)
        yield process.pid
    finally:
        await _end(process)


async def _wait_ready(process: "subprocess.Popen[bytes]", url: str, log: Path, ready_s: float) -> None:
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:

        async def ready() -> bool:
            if process.poll() is not None:
                raise SiteFailed(f"{_shown(process)} ended with status {process.returncode}\n{_tail(log)}")
            return await _answers(http, url)

        if not await _comes_true(ready, ready_s):
            raise SiteFailed(f"{_shown(process)} was not ready after {ready_s:g} s\n{_tail(log)}")


async def _wait_until_up(url: str, key: str) -> None:
    async with httpx.AsyncClient(timeout=2.0, trust_env=False, headers={"authorization": f"Bearer {key}"}) as http:
        if not await _comes_true(lambda: _answers(http, url), READY_S):
            raise SiteFailed(f"{url} did not answer within {READY_S:g} s; see serve.log")


async def _wait_until_split(snapshot: Path, routes: set[str]) -> None:
    """Until the gateway has the published rollouts: before, everything is the teacher's."""

    async def split() -> bool:
        with contextlib.suppress(OSError, ValueError):
            return routes <= set(json.loads(snapshot.read_text(encoding="utf-8"))["rollouts"])
        return False

    if not await _comes_true(split, READY_S):
        raise SiteFailed(f"the gateway has no split for {', '.join(sorted(routes))} after {READY_S:g} s")
    await asyncio.sleep(POLL_S)  # the file is written when the event loop has been told: let it hear


async def _comes_true(condition: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if await condition():
            return True
        await asyncio.sleep(POLL_S)
    return False


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    """Whether `url` answers 200 now."""
    with contextlib.suppress(httpx.HTTPError):
        return (await http.get(url)).status_code == 200
    return False


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end and wait; then end its whole group, whatever is left of it."""
    process.terminate()
    deadline = time.monotonic() + STOP_S
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _new_key(config: Path, *options: str) -> str:
    """A key, made by the command that an operator uses."""
    command = [sys.executable, "-m", "tutelage.cli.main", "keys", "create", "--json", "--config", str(config), *options]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SiteFailed(f"tutelage keys create: {made.stderr.strip()}")
    key: str = json.loads(made.stdout)["key"]
    return key


def _shown(process: "subprocess.Popen[bytes]") -> str:
    arguments = process.args
    return " ".join(map(str, arguments)) if isinstance(arguments, list) else str(arguments)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2_000:]
