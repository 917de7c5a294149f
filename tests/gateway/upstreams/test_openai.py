import random
import time
from dataclasses import replace
from typing import Any

import pytest

from gateway.upstreams.base import CallRefused, ConnectFailed
from gateway.upstreams.openai import OpenAIUpstream
from router.breaker import BreakerPolicy
from tests.gateway.upstreams.contract import ask, call, echo
from tests.gateway.upstreams.server import Exchange, scripted
from tests.gateway.upstreams.wire_contract import WireContract


class TestOpenAI(WireContract):
    def build(self, url: str, *, max_connections: int = 64) -> OpenAIUpstream:
        return OpenAIUpstream(
            name="gpt",
            base_urls=[url],
            api_key="the-key",
            max_connections=max_connections,
            clock=time.monotonic,
            draw=random.Random(1).random,
        )


async def failing(exchange: Exchange) -> None:
    await exchange.answer(b"{}", status=503)


def over(urls: list[str], clock: "Clock", **options: Any) -> OpenAIUpstream:
    policy = BreakerPolicy(consecutive_failures=2, backoff_s=5.0)
    draw = random.Random(7).random
    return OpenAIUpstream(name="s", base_urls=urls, clock=clock, draw=draw, breaker=policy, **options)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_calls_are_spread_over_the_replicas():
    async with scripted(echo) as one, scripted(echo) as two:
        upstream = over([one.url, two.url], Clock())
        replies = [await upstream.open(call()) for _ in range(20)]
        assert len(one.requests) == len(two.requests) == 10, "the less loaded of two, while none has ended"
        assert {reply.replica for reply in replies} == {replica.name for replica in upstream.replicas}
        for reply in replies:
            await reply.aclose()
        await upstream.aclose()


async def test_a_session_stays_on_its_replica():
    async with scripted(echo) as one, scripted(echo) as two:
        upstream = over([one.url, two.url], Clock())
        for session in ("ann", "bob", "eve", "dan"):
            homes = set()
            for _ in range(5):
                reply = await upstream.open(replace(call(), affinity=session))
                homes.add(reply.replica)
                await reply.aclose()
            assert len(homes) == 1
        await upstream.aclose()


@pytest.mark.parametrize("broken", ["answers 503", "refuses"])
async def test_a_replica_that_fails_is_passed_over_and_asked_again_after_its_back_off(broken: str):
    clock = Clock()
    async with scripted(echo) as gone:
        pass
    async with scripted(echo) as good, scripted(failing) as bad:
        upstream = over([good.url, bad.url if broken == "answers 503" else gone.url], clock)
        sick = upstream.replicas[1]
        while sick.available:
            await quietly(upstream)
        before = len(good.requests)
        for _ in range(10):
            assert await quietly(upstream) == 200
        assert len(good.requests) == before + 10
        clock.now += 5.0
        assert sick.available
        while sick.available:
            await quietly(upstream)
        await upstream.aclose()


async def test_the_last_replica_is_never_ejected():
    async with scripted(failing) as one, scripted(failing) as two:
        upstream = over([one.url, two.url], Clock())
        assert [await quietly(upstream) for _ in range(12)] == [503] * 12
        assert not any(replica.available for replica in upstream.replicas)
        assert len(one.requests) + len(two.requests) == 12
        await upstream.aclose()


async def test_what_says_nothing_about_a_replica_leaves_it_in():
    async def refusing(exchange: Exchange) -> None:
        await exchange.answer(b"{}", status=429)

    async with scripted(refusing) as one, scripted(refusing) as two:
        upstream = over([one.url, two.url], Clock())
        assert {await quietly(upstream) for _ in range(20)} == {429}
        for _ in range(5):
            with pytest.raises(CallRefused):
                await upstream.open(replace(call(), path="/a b"))
        assert all(replica.available for replica in upstream.replicas)
        await upstream.aclose()


async def quietly(upstream: OpenAIUpstream) -> int:
    """The status of one call; 0 where it could not be made."""
    try:
        return (await ask(upstream, call()))[0]
    except ConnectFailed:
        return 0
