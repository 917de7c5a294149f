"""Lanes over changes of the configuration: who was planned with an upstream can still call it."""

import os
import time

from gateway.lanes import Lanes
from gateway.upstreams.registry import build_upstream
from router.types import Outcome
from tests.gateway.upstreams.contract import ask, call
from tests.gateway.upstreams.server import Exchange, scripted
from tutelage.contracts.upstreams import UpstreamSettings


async def ok(exchange: Exchange) -> None:
    await exchange.answer(b"ok")


def lanes() -> Lanes:
    return Lanes(lambda name, settings: build_upstream(name, settings, os.environ), time.monotonic)


async def test_an_upstream_that_left_the_configuration_serves_those_who_were_planned_with_it():
    async with scripted(ok) as server:
        at = lanes()
        big = UpstreamSettings(kind="vllm", base_url=server.url, model="m")
        at.update({"big": big})
        planned = at["big"]
        at.update({})
        assert at["big"] is planned
        assert at.all() == ()
        permit = planned.call(0.0)
        assert (await ask(planned.upstream, call()))[1] == b"ok"
        planned.settle(permit, Outcome.SUCCESS, 0.0)
        await at.aclose()


async def test_an_upstream_whose_settings_did_not_change_keeps_its_state():
    async with scripted(ok) as server:
        at = lanes()
        big = UpstreamSettings(kind="vllm", base_url=server.url, model="m")
        at.update({"big": big})
        kept = at["big"]
        at.update({"big": big, "other": big.model_copy(update={"model": "n"})})
        assert at["big"] is kept
        at.update({"big": big.model_copy(update={"model": "o"})})
        assert at["big"] is not kept
        await at.aclose()


async def test_a_call_that_is_made_while_the_breaker_is_open_is_counted_and_says_nothing():
    async with scripted(ok) as server:
        at = lanes()
        at.update({"big": UpstreamSettings(kind="vllm", base_url=server.url, model="m")})
        lane = at["big"]
        while (permit := lane.admit(0.0)) is not None:
            lane.settle(permit, Outcome.FAILURE, 0.0)
        assert not lane.available(0.0)
        forced = lane.call(0.0)
        assert lane.calls == 1
        lane.settle(forced, Outcome.SUCCESS, 0.0)
        assert (lane.calls, lane.available(0.0)) == (0, False)
        await at.aclose()
