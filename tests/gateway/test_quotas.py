"""Limits of keys as clients meet them, and their cost beside a hundred thousand other keys."""

import asyncio
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest

from gateway.auth import authenticate, by_digest
from gateway.errors import LimitReached
from gateway.quotas import Quotas
from tests.gateway.harness import INTERNAL, KEYS, Running, key, running, until
from tests.gateway.model_server import Asked, ModelServer, answering, hanging
from tutelage.contracts.keys import KeyLimits
from tutelage.contracts.prices import PriceList

LIMITED = "tut-limited"
ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


def priced(content: dict[str, Any]) -> None:
    content["gateway"]["processes"] = 1
    content["upstreams"]["big"]["cost"] = {"prompt_usd_per_mtok": 100_000, "completion_usd_per_mtok": 0}


async def limited(at: Running, **limits: Any) -> httpx.AsyncClient:
    """A client with these limits. Time stands: what it uses does not flow back while others have the machine."""
    at.gateway.front.quotas.monotonic = lambda: 1_000.0
    await at.publish(keys=(*KEYS, key(LIMITED, limits=KeyLimits(**limits))))
    return at.http(LIMITED)


async def test_requests_beyond_the_minute_get_429_and_when_to_come_back(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, rpm=3)
        answers = [await client.post(PATH, json=ASK) for _ in range(4)]
        free = await at.http().post(PATH, json=ASK)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert free.status_code == 200
    refused = answers[-1]
    assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
    assert (refused.json()["error"]["type"], refused.json()["error"]["code"]) == ("requests", "rate_limit_exceeded")
    assert refused.headers["x-ratelimit-limit-requests"] == "3"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < float(refused.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 20
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert len(teacher.asked) == 4, "the refused one was not asked"


async def test_what_is_open_is_bounded_per_key(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = hanging()
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, max_concurrency=2)
        open_ = [asyncio.ensure_future(client.post(PATH, json=ASK)) for _ in range(2)]
        await until(lambda: len(teacher.asked) == 2)
        refused = await client.post(PATH, json=ASK)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "concurrency_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        for task in open_:
            task.cancel()
        await until(lambda: at.gateway.front.admission.open == 0)
        teacher.script = answering("again")
        assert (await client.post(PATH, json=ASK)).status_code == 200


async def test_a_bad_request_leaves_nothing_open(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, max_concurrency=1)
        for _ in range(3):
            assert (await client.post(PATH, content=b"{")).status_code == 400
        assert (await client.post(PATH, json=ASK)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("log", ["off", "full"])
async def test_tokens_are_settled_with_what_the_upstream_counted(
    stream: bool, log: str, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """The servers count 8 tokens an answer; the estimate of these requests is 9 + 10."""
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, tpm=30)
        ask = {**ASK, "max_tokens": 10, "stream": stream}
        answers = [await client.post(PATH, json=ask, headers={"x-tutelage-log": log}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert refused.json()["error"]["type"] == "tokens"
    assert refused.headers["x-ratelimit-limit-tokens"] == "30"
    assert refused.headers["x-ratelimit-remaining-tokens"] == "14", "2 × 8 of 30 were used"


async def test_a_request_that_can_never_fit_is_not_to_be_retried(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, tpm=100)
        refused = await client.post(PATH, json={**ASK, "max_tokens": 1_000})
    assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "false")
    assert "asks for more than" in refused.json()["error"]["message"]


async def test_a_days_dollars_are_spent_once(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    """5 prompt tokens an answer at 0.1 dollars each."""
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, usd_per_day=1.0)
        answers = [await client.post(PATH, json=ASK) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["error"]["code"] == "insufficient_quota"
    assert answers[-1].headers["x-should-retry"] == "false"


async def test_an_answer_that_never_came_costs_nothing(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async def script(asked: Asked) -> Any:
        assert asked.request.transport is not None
        asked.request.transport.abort()
        await asyncio.Event().wait()

    teacher.script = script
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, tpm=30)
        assert (await client.post(PATH, json={**ASK, "max_tokens": 10})).status_code == 502
        teacher.script = answering("now")
        assert (await client.post(PATH, json={**ASK, "max_tokens": 10})).status_code == 200


async def test_defaults_hold_for_keys_without_limits_but_not_for_internal_ones(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def change(content: dict[str, Any]) -> None:
        priced(content)
        content["limits"] = {"key": {"rpm": 1}}

    async with running(teacher, student, tmp_path, change=change) as at:
        client, internal = at.http(), at.http(INTERNAL)
        assert [(await client.post(PATH, json=ASK)).status_code for _ in range(2)] == [200, 429]
        assert [(await internal.post(PATH, json=ASK)).status_code for _ in range(3)] == [200] * 3
        own = await limited(at, rpm=2)
        assert [(await own.post(PATH, json=ASK)).status_code for _ in range(3)] == [200, 200, 429]


async def test_openais_client_sees_a_rate_limit(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, change=priced) as at:
        await limited(at, rpm=1)
        client = at.openai(LIMITED)
        await client.chat.completions.create(**ASK)
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(**ASK)


def quotas(processes: int = 1, **defaults: Any) -> Quotas:
    return Quotas(
        defaults=KeyLimits(**defaults),
        processes=processes,
        prices=PriceList({}),
        monotonic=lambda: 5.0,
        utc=lambda: 0.0,
    )


@pytest.mark.parametrize(
    ("processes", "each", "told"), [(1, 10, ""), (2, 5, ", of which each of 2"), (4, 3, ", of which each of 4")]
)
def test_a_limit_is_divided_by_the_processes_of_its_host(processes: int, each: int, told: str):
    shared, limited_key = quotas(processes), key("k", limits=KeyLimits(rpm=10))
    for _ in range(each):
        shared.enter(limited_key)
    with pytest.raises(LimitReached) as fault:
        shared.enter(limited_key)
    assert f"limit of its key: 10 requests per minute{told}" in fault.value.message
    assert (b"x-ratelimit-limit-requests", b"10") in fault.value.headers


def test_a_request_costs_the_same_beside_a_hundred_thousand_keys():
    def cost_of(count: int) -> float:
        keys = by_digest(tuple(key(f"k{number}", limits=KeyLimits(rpm=10**9)) for number in range(count)))
        used = quotas()
        for each in keys.values():
            quota = used.enter(each)
            assert quota is not None
            quota.leave()
        headers = [(b"authorization", b"Bearer k7")]
        assert sha256(b"k7").hexdigest() in keys
        best = float("inf")
        for _ in range(30):
            began = time.process_time()
            for _ in range(1_000):
                quota = used.enter(authenticate(headers, keys))
                assert quota is not None
                quota.leave()
            best = min(best, time.process_time() - began)
        return best

    few, many = cost_of(10), cost_of(100_000)
    assert many < 3 * few, f"{few * 1000:.2f} against {many * 1000:.2f} ms for a thousand"


def test_what_a_limited_key_weighs_is_small():
    used = quotas()
    limited_key = key("k", limits=KeyLimits(rpm=1))
    used.enter(limited_key)
    meter, limits = used._metered[limited_key.id]
    assert sys.getsizeof(meter) + sys.getsizeof(limits) < 256


def test_keys_that_are_gone_are_forgotten_and_the_limits_of_others_read_anew():
    used = quotas()
    gone, kept = (key(name, limits=KeyLimits(rpm=1)) for name in "gk")
    for each in (gone, kept):
        used.enter(each)
    changed = msgspec.structs.replace(kept, limits=KeyLimits(rpm=5))
    used.forget_others([changed, key("never came", limits=KeyLimits(rpm=1))])
    assert set(used._metered) == {kept.id}
    with pytest.raises(LimitReached, match="5 requests per minute"):
        used.enter(changed)


async def test_what_was_counted_survives_a_new_snapshot(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, change=priced) as at:
        client = await limited(at, rpm=1)
        assert (await client.post(PATH, json=ASK)).status_code == 200
        await at.share(10_000)
        assert (await client.post(PATH, json=ASK)).status_code == 429
