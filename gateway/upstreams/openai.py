"""Upstreams that speak OpenAI's protocol: kinds `openai` and `vllm`. Bytes out, bytes in, over one or more replicas.

Owns the choice of the replica. Each has a breaker of its own, which only steers that choice: replicas that cannot be reached or
answer 5xx are passed over, never the last one. Must not know of arms, routes or bodies; the breaker that moves requests to the
other arm is the dispatcher's.
"""

import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from gateway.upstreams.base import Call, CallRefused, Reply, UpstreamError
from gateway.upstreams.dial import Proxies, address_of
from gateway.upstreams.http import HttpPool
from gateway.upstreams.reply import HttpReply
from router.balance import at_home, least_loaded
from router.breaker import Breaker, BreakerPolicy, Permit
from router.types import Outcome

HOME_SLACK = 8
"""A session leaves its replica, and the prefix cache there, while that has more than this many calls above its second home."""


class Replica:
    """One base URL with its breaker; what `router.balance` reads."""

    __slots__ = ("_clock", "breaker", "pool")

    def __init__(self, pool: HttpPool, breaker: Breaker, clock: Callable[[], float]) -> None:
        self.pool = pool
        self.breaker = breaker
        self._clock = clock

    @property
    def name(self) -> str:
        return self.pool.replica

    @property
    def outstanding(self) -> int:
        return self.pool.outstanding

    @property
    def available(self) -> bool:
        return self.breaker.available(self._clock())

    async def open(self, call: Call) -> Reply:
        """`call`; its breaker learns how the reply ended. Without a permit it is made all the same: nobody else is left."""
        permit = self.breaker.acquire(self._clock())
        outcome = Outcome.IGNORED
        try:
            reply = await self.pool.open(call)
        except CallRefused:
            raise
        except UpstreamError as fault:
            fault.replica = self.name
            outcome = Outcome.FAILURE
            raise
        else:
            outcome = Outcome.SUCCESS
        finally:
            if permit is not None and outcome is not Outcome.SUCCESS:
                self.breaker.settle(permit, outcome, self._clock())
        if permit is not None:
            self._settle_at_the_end(permit, reply)
        return reply

    def _settle_at_the_end(self, permit: Permit, reply: HttpReply) -> None:
        """A head alone says little: vLLM sends it before it computes anything."""
        in_pool = reply.on_close

        def closed(fault: UpstreamError | None) -> None:
            if in_pool is not None:
                in_pool(fault)
            failed = fault is not None or reply.status >= 500
            told = Outcome.SUCCESS if reply.complete else Outcome.IGNORED
            self.breaker.settle(permit, Outcome.FAILURE if failed else told, self._clock())

        reply.on_close = closed


class OpenAIUpstream:
    """One model on its replicas. `clock` is monotonic seconds, `draw` uniform in [0, 1)."""

    def __init__(
        self,
        *,
        name: str,
        base_urls: Sequence[str],
        clock: Callable[[], float],
        draw: Callable[[], float],
        api_key: str | None = None,
        max_connections: int = 256,
        breaker: BreakerPolicy | None = None,
        tls: ssl.SSLContext | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._name = name
        self._draw = draw
        policy = breaker or BreakerPolicy()
        routes = proxies or Proxies()
        pools = [
            HttpPool(
                upstream=name,
                base_url=url,
                api_key=api_key,
                max_connections=max_connections,
                tls=tls,
                proxy=routes.to(address_of(url)),
            )
            for url in dict.fromkeys(base_urls)
        ]
        keys = [] if api_key is None else [api_key.encode("latin-1", "replace")]
        self.hidden = (*keys, *(pool.address.authority.encode("ascii") for pool in pools))
        self.replicas = tuple(Replica(pool, Breaker(policy), clock) for pool in pools)

    @property
    def name(self) -> str:
        return self._name

    def open(self, call: Call) -> Coroutine[Any, Any, Reply]:
        if len(self.replicas) == 1:
            return self.replicas[0].pool.open(call)
        return self._choose(call).open(call)

    async def aclose(self) -> None:
        for replica in self.replicas:
            await replica.pool.aclose()

    def _choose(self, call: Call) -> Replica:
        replicas = self.replicas
        if call.avoid is not None:
            replicas = tuple(replica for replica in replicas if replica.name != call.avoid) or replicas
        if call.affinity is None:
            return least_loaded(replicas, self._draw())
        return at_home(replicas, call.affinity, HOME_SLACK)
