"""Clients for whole installations, and what the spools and the process table say."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tutelage.capture.spooled import read_spooled
from tutelage.contracts.records import Exchange
from tutelage.demo.site import ROUTE, Site
from tutelage.store import spool

REFUSED_S = 0.05
"""Before a client that was refused comes again: what is started for it needs the processor."""


@dataclass
class Answers:
    """What clients got: the arm by (session, arm) counts, and every answer that was no 200."""

    arms: dict[str, set[str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


async def ask(http: aiohttp.ClientSession, session: str, text: str, answers: Answers) -> None:
    body = {"model": ROUTE, "messages": [{"role": "user", "content": text}]}
    try:
        async with http.post("v1/chat/completions", json=body, headers={"x-tutelage-session": session}) as reply:
            said = await reply.text()
            if reply.status != 200:
                answers.bad.append(f"{reply.status} {said[:200]}")
                return
            answers.arms.setdefault(session, set()).add(reply.headers["x-tutelage-arm"])
            answers.ids.append(reply.headers["x-tutelage-request-id"])
    except aiohttp.ClientError as fault:
        answers.bad.append(repr(fault))
        await asyncio.sleep(REFUSED_S)


async def ask_all(site: Site, sessions: Sequence[str], clients: int = 16) -> Answers:
    """One request for each of `sessions`, `clients` at a time."""
    answers, pending = Answers(), iter(enumerate(sessions))

    async with client_of(site) as http:

        async def client() -> None:
            for number, session in pending:
                await ask(http, session, f"input {number}", answers)

        await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def client_of(site: Site) -> aiohttp.ClientSession:
    headers = {"authorization": f"Bearer {site.key}"}
    return aiohttp.ClientSession(f"{site.url}/", headers=headers, timeout=aiohttp.ClientTimeout(total=30))


def exchanges(data_dir: Path) -> list[Exchange]:
    """Every durable exchange."""
    rows = [row for path in spool.spools(data_dir).values() for row in spool.read_after(path, 0, 1_000_000)]
    return [record for row in rows if isinstance(record := read_spooled(row.body), Exchange)]


def children(pid: int, role: str) -> list[int]:
    """Processes started by `pid` whose command line names `role` as its module."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == pid and role.encode() in command:
            found.append(int(entry.name))
    return sorted(found)


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)
