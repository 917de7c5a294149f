"""The application of the demo: asks the gateway for sections, as an app's users would, and counts what comes back.

Inputs are drawn with replacement, and every request is a session of its own, so that the split is by request. Owns its
clients; must not know what the gateway does with them.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

TIMEOUT_S = 60.0


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the clients saw so far. `arms` counts answers by the arm that the gateway named."""

    requests: int = 0
    errors: int = 0
    first_error: str | None = None
    arms: Counter[str] = field(default_factory=Counter)


class Driver:
    """`clients` concurrent clients sending `bodies` (chat requests) to `url` until stopped or an error comes back."""

    def __init__(self, *, url: str, key: str, bodies: Sequence[Mapping[str, Any]], clients: int, seed: int) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._headers = {"authorization": f"Bearer {key}"}
        self._bodies = bodies
        self._clients = clients
        self._draw = random.Random(seed)  # noqa: S311 - which input comes next is no secret
        self.tally = Tally()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """No further requests; those under way are awaited by `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Drive until `stop` is called, or until the first error."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, headers=self._headers) as http:
            await asyncio.gather(*(self._client(http) for _ in range(self._clients)))

    async def _client(self, http: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            session = f"{self._draw.getrandbits(64):016x}"
            body = self._bodies[self._draw.randrange(len(self._bodies))]
            self.tally.requests += 1
            try:
                async with http.post(self._url, json=body, headers={"x-tutelage-session": session}) as reply:
                    text = await reply.text()
                    self._count(reply.status, reply.headers.get("x-tutelage-arm", "unnamed"), text)
            except (aiohttp.ClientError, TimeoutError) as fault:
                self._count(0, "none", f"{type(fault).__name__}: {fault}")

    def _count(self, status: int, arm: str, text: str) -> None:
        if status == 200:
            self.tally.arms[arm] += 1
            return
        self.tally.errors += 1
        self.tally.first_error = self.tally.first_error or f"status {status}: {text[:500]}"
        self.stop()
