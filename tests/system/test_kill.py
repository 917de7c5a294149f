"""kill -9 of one role at a time, under load: clients of the others notice nothing, and what was durable stays."""

import asyncio
import os
import signal

from tests.system.conftest import StartSite
from tests.system.driving import Answers, ask, children, client_of, exchanges, until
from tutelage.demo.site import Site


class Load:
    """Clients that ask until stopped."""

    def __init__(self, site: Site, clients: int = 8) -> None:
        self.answers = Answers()
        self._site, self._clients, self._stopping = site, clients, False

    async def __aenter__(self) -> "Load":
        self._http = client_of(self._site)
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await self._http.close()

    async def more(self, count: int) -> None:
        """Wait until `count` more requests are answered."""
        wanted = len(self.answers.ids) + count
        await until(lambda: len(self.answers.ids) >= wanted)

    async def _client(self, number: int) -> None:
        asked = 0
        while not self._stopping:
            await ask(self._http, f"user-{number}-{asked}", f"input {asked}", self.answers)
            asked += 1


async def _killed(site: Site, role: str) -> None:
    """Kill the one process of `role`; wait until the supervisor has put another in its place."""
    (old,) = children(site.pid, role)
    os.kill(old, signal.SIGKILL)
    await until(lambda: children(site.pid, role) not in ([], [old]))


async def test_killing_control_and_worker_changes_nothing_for_clients(site: StartSite):
    async with site("50%") as running, Load(running) as load:
        for role in ("tutelage.control", "scoring.worker", "tutelage.control"):
            await load.more(100)
            await _killed(running, role)
            await load.more(100)
        assert load.answers.bad == []


async def test_killing_a_gateway_loses_no_durable_exchange(site: StartSite):
    async with site("50%") as running:
        async with Load(running) as load:
            for _ in range(3):
                await load.more(200)
                await until(lambda: bool(exchanges(running.data_dir)))
                durable = {exchange.id for exchange in exchanges(running.data_dir)}
                await _killed(running, "gateway")
                await load.more(50)
                kept = [exchange.id for exchange in exchanges(running.data_dir)]
                assert durable <= set(kept)
                assert len(kept) == len(set(kept))
        answered = set(load.answers.ids)
        await until(lambda: len(answered - {exchange.id for exchange in exchanges(running.data_dir)}) <= 3 * 256)
