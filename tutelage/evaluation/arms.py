"""Both arms asked the same through the gateway's data plane: pinned, so that nobody takes over for anybody.

Owns the HTTP client of the experiment and the way from a reply to an `Attempt`. Breakers, connection limits and deadlines
towards providers are the gateway's. Must not know scores.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from router.types import Arm
from tutelage.capture.answers import read_answer
from tutelage.contracts.errors import TutelageError
from tutelage.contracts.prices import PriceList
from tutelage.contracts.records import Attempt
from tutelage.contracts.upstreams import UpstreamSettings

PURPOSE = "evaluate"
ENDPOINT = "chat.completions"
DEADLINE_S = 120.0
POLL_S = 0.1
UNREACHABLE = "unreachable"


class GatewayUnreachable(TutelageError):
    """There is no gateway, or it reads another store than ours."""


class Arms:
    """Asks the arms of one route. `upstreams` names the arm's upstream and its settings. Close it when done."""

    def __init__(
        self, url: str, key: str, route: str, upstreams: Mapping[Arm, tuple[str, UpstreamSettings]], prices: PriceList
    ) -> None:
        self._route, self._upstreams, self._prices = route, upstreams, prices
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}", "x-tutelage-log": "off"},
            timeout=httpx.Timeout(DEADLINE_S, connect=5.0),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def reachable(self, within_s: float) -> None:
        """Return once the gateway takes our key. Raises GatewayUnreachable where it does not within so long."""
        deadline, said = time.monotonic() + within_s, "does not answer"
        while time.monotonic() < deadline:
            try:
                status = (await self._http.get("/v1/models")).status_code
            except httpx.HTTPError as fault:
                said = f"does not answer ({type(fault).__name__})"
            else:
                if status == httpx.codes.OK:
                    return
                said = f"does not take our key (status {status}); does it read another store?"
            await asyncio.sleep(POLL_S)
        raise GatewayUnreachable(f"the gateway at {self._http.base_url} {said}: is it running with this configuration?")

    async def ask(self, arm: Arm, request: Mapping[str, Any]) -> Attempt:
        """What `arm` answers. A fault is an attempt with its class, never an exception."""
        started, before = time.time(), time.monotonic()
        try:
            reply = await self._http.post(
                "/v1/chat/completions",
                json={**request, "model": self._route, "stream": False},
                headers={"x-tutelage-arm": arm.value},
            )
        except httpx.HTTPError as fault:
            return self._attempt(arm, started, before, status=None, error=f"{UNREACHABLE}: {type(fault).__name__}")
        if reply.status_code != httpx.codes.OK:
            return self._attempt(arm, started, before, status=reply.status_code, error=f"status {reply.status_code}")
        reading = read_answer(reply.content, endpoint=ENDPOINT, content_type=reply.headers.get("content-type"))
        taken = self._attempt(arm, started, before, status=reply.status_code, error=reading.error)
        name, _ = self._upstreams[arm]
        price = self._prices.price(name, reading.usage, taken.total_ms)
        return msgspec.structs.replace(
            taken,
            answer=reading.answer,
            usage=reading.usage,
            fingerprint=reading.fingerprint,
            cost_nusd=None if price is None else price.nusd,
            price_version=None if price is None else price.version,
        )

    def _attempt(self, arm: Arm, started: float, before: float, *, status: int | None, error: str | None) -> Attempt:
        name, settings = self._upstreams[arm]
        return Attempt(
            arm=arm,
            upstream=name,
            version=settings.version,
            purpose=PURPOSE,
            started=started,
            total_ms=(time.monotonic() - before) * 1000,
            status=status,
            error=error,
        )
