import random
import time
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.upstreams.base import CallRefused, ConnectFailed, TimedOut
from gateway.upstreams.openai import OpenAIUpstream
from router.breaker import BreakerPolicy
from tests.gateway.upstreams.contract import PATIENT, ask, call, echo
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


async def test_a_replica_that_sends_heads_and_nothing_more_is_passed_over():
    async def hollow(exchange: Exchange) -> None:
        await exchange.begin_chunked(b"content-type: text/event-stream\r\n")
        await exchange.until_closed()

    async with scripted(echo) as good, scripted(hollow) as bad:
        upstream = over([good.url, bad.url], Clock())
        sick = upstream.replicas[1]
        while sick.available:
            with suppress(TimedOut):
                await ask(upstream, call(deadlines=replace(PATIENT, first_token_s=0.3)))
        before = len(bad.requests)
        assert [await quietly(upstream) for _ in range(10)] == [200] * 10
        assert len(bad.requests) == before
        await upstream.aclose()


async def test_a_reader_that_leaves_says_nothing_about_a_replica():
    async def endless(exchange: Exchange) -> None:
        await exchange.begin_chunked(b"content-type: text/event-stream\r\n")
        await exchange.chunk(b"data: {}\n\n")
        await exchange.until_closed()

    async with scripted(endless) as one, scripted(endless) as two:
        upstream = over([one.url, two.url], Clock())
        for _ in range(12):
            reply = await upstream.open(call(stream=True))
            assert await anext(aiter(reply.chunks()))
            await reply.aclose()
        assert all(replica.available for replica in upstream.replicas)
        await upstream.aclose()


@pytest.mark.parametrize("affinity", [None, "ann", "bob", "eve"])
async def test_a_replica_that_has_just_failed_a_request_is_avoided_by_its_retry(affinity: str | None):
    async with scripted(echo) as one, scripted(echo) as two:
        upstream = over([one.url, two.url], Clock())
        for avoided, other in (upstream.replicas, reversed(upstream.replicas)):
            reply = await upstream.open(replace(call(), affinity=affinity, avoid=avoided.name))
            assert reply.replica == other.name
            await reply.aclose()
        await upstream.aclose()


async def test_the_only_replica_is_asked_again_all_the_same():
    async with scripted(echo) as server:
        upstream = over([server.url], Clock())
        assert (await ask(upstream, replace(call(), avoid=upstream.replicas[0].name)))[0] == 200
        await upstream.aclose()


async def test_a_failure_names_its_replica():
    async with scripted(echo) as gone:
        pass
    upstream = over([gone.url, gone.url.replace("/v1", "/v2")], Clock())
    with pytest.raises(ConnectFailed) as fault:
        await upstream.open(call())
    assert fault.value.replica in {replica.name for replica in upstream.replicas}
    await upstream.aclose()
