"""The life of a request when things go wrong: fallback, broken answers, hang-ups, shadows, breakers."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.snapshots import snapshot_of
from router.rollout import Successor
from router.types import Sampling
from tests.gateway.harness import (
    KEYS,
    PATIENCE_S,
    PINNER,
    MemoryStore,
    Running,
    document,
    replace_snapshot,
    rollout,
    running,
    until,
)
from tests.gateway.model_server import (
    DONE,
    Asked,
    ModelServer,
    Script,
    answering,
    begun,
    breaking,
    completion,
    delta,
    event,
    failing,
    hanging,
    plain,
    streamed,
)
from tutelage.contracts.load import validated
from tutelage.contracts.snapshot import PublishedConfig

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
ERROR = {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}}
EVERYTHING = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)


def saying(*chunks: bytes) -> Script:
    async def script(asked: Asked) -> Any:
        return await streamed(asked, *chunks)

    return script


def body(content: bytes, status: int = 200) -> Script:
    async def script(asked: Asked) -> Any:
        return plain(content, status)

    return script


async def short(asked: Asked) -> Any:
    """A plain answer that is reset before its declared length."""
    assert asked.request.transport is not None
    asked.request.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{")
    asked.request.transport.abort()
    return plain(b"")


BEFORE_THE_FIRST_BYTE: dict[str, tuple[Script, bool, str]] = {
    "400": (failing(400), False, "status_400"),
    "429": (failing(429), True, "status_429"),
    "500": (failing(500), False, "status_500"),
    "503, stream": (failing(503), True, "status_503"),
    "529": (failing(529), False, "status_529"),
    "redirect": (body(b"", 307), False, "status_307"),
    "200 with an error": (body(json.dumps(ERROR).encode()), False, "error_event"),
    "first event is an error": (saying(event(ERROR), DONE), True, "error_event"),
    "first event is an error, after comments": (
        saying(b": wait\n\n", b": wait\n\n", event(ERROR)),
        True,
        "error_event",
    ),
    "malformed JSON": (body(b"{"), False, "malformed"),
    "another JSON": (body(b"[]"), False, "malformed"),
    "malformed SSE": (saying(b"data: oops\n\n"), True, "malformed"),
    "no event": (saying(), True, "truncated"),
    "reset": (breaking(), True, "broken"),
    "short body": (short, False, "broken"),
    "silence": (hanging(), False, "timeout_first_token"),
    "silence, stream": (hanging(), True, "timeout_first_token"),
}


def impatient_with(name: str, cause: str) -> Callable[[dict[str, Any]], None]:
    """Where it is the deadline that ends a call, that deadline is short; what else goes wrong may take its time."""

    def change(content: dict[str, Any]) -> None:
        if cause.startswith("timeout_"):
            content["upstreams"][name]["deadlines"] = {cause.removeprefix("timeout_"): "300ms"}

    return change


@pytest.mark.parametrize("fault", BEFORE_THE_FIRST_BYTE)
async def test_a_students_fault_before_the_first_byte_is_answered_by_the_teacher(
    fault: str, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    student.script, stream, cause = BEFORE_THE_FIRST_BYTE[fault]
    async with running(teacher, student, tmp_path, share_bp=10_000, change=impatient_with("small", cause)) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": stream})
        exchange = await at.exchange()
    assert (answer.status_code, answer.headers["x-tutelage-arm"]) == (200, "teacher")
    assert ("data: [DONE]" in answer.text) == stream
    asked_twice = [("student", "retry")] if cause in ("status_503", "status_529") else []
    assert [(attempt.arm, attempt.purpose) for attempt in exchange.attempts] == [
        ("student", "serve"),
        *asked_twice,
        ("teacher", "fallback"),
    ]
    assert (exchange.attempts[0].error, exchange.outcome, exchange.served_arm) == (cause, "ok", "teacher")


async def test_a_dead_student_costs_nobody_an_answer_and_is_left_alone(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        student.url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        client = at.http()
        answers = [await client.post(PATH, json={**ASK, "user": str(user)}) for user in range(20)]
        await until(lambda: len(at.exchanges()) == 20)
        tried = [exchange for exchange in at.exchanges() if exchange.attempts[0].arm == "student"]
        left = [exchange for exchange in at.exchanges() if exchange.plan.reasons == ("student_unavailable",)]
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(len(exchange.attempts) for exchange in tried) == [2, 3, 3], "five failures, two of them retries"
    assert len(left) == 17
    assert {exchange.attempts[0].error for exchange in tried} == {"connect"}


async def test_the_teachers_4xx_passes_unchanged(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = failing(400, "context exceeded", x_should_retry="false")
    async with running(teacher, student, tmp_path, fallback="both") as at:
        with pytest.raises(openai.BadRequestError) as refused:
            await at.openai().chat.completions.create(**ASK)
        exchange = await at.exchange()
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert "context exceeded" in refused.value.message
    assert student.asked == []
    assert (exchange.outcome, exchange.cause) == ("client_error", "status_400")


async def test_with_both_the_student_takes_over_from_a_failing_teacher(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = failing(500)
    async with running(teacher, student, tmp_path, fallback="both") as at:
        answer = await at.http().post(PATH, json=ASK)
    assert (answer.status_code, answer.headers["x-tutelage-arm"]) == (200, "student")


async def test_a_teacher_that_cannot_be_reached_is_an_error_in_the_envelope(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = hanging()
    change = impatient_with("big", "timeout_first_token")
    async with running(teacher, student, tmp_path, change=change) as at:
        with pytest.raises(openai.InternalServerError) as failed:
            await at.openai().chat.completions.create(**ASK, stream=True)
        exchange = await at.exchange()
    assert (failed.value.status_code, failed.value.code) == (504, "upstream_timeout_first_token")
    assert (exchange.outcome, exchange.cause) == ("upstream_error", "timeout_first_token")


AFTER_THE_FIRST_BYTE: dict[str, tuple[Script, str]] = {
    "reset between events": (breaking(delta("a"), delta("b")), "broken"),
    "reset inside an event": (breaking(delta("a"), b'data: {"choi'), "broken"),
    "clean end without [DONE]": (saying(delta("a"), delta("b", "stop")), "truncated"),
    "clean end inside an event": (saying(delta("a"), b'data: {"choi'), "truncated"),
    "silence": (hanging(delta("a")), "timeout_idle"),
}


@pytest.mark.parametrize("usage", ["inject", "if_asked"])
@pytest.mark.parametrize("fault", AFTER_THE_FIRST_BYTE)
async def test_after_the_first_byte_a_failure_is_told_in_band(
    fault: str, usage: str, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    student.script, cause = AFTER_THE_FIRST_BYTE[fault]
    change = impatient_with("small", cause)
    async with running(teacher, student, tmp_path, share_bp=10_000, change=change, usage=usage) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": True})
        exchange = await at.exchange()
        assert at.gateway.front.admission.open == 0
    *_, last, end = answer.text.split("\n\n")
    assert end == ""
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == f"upstream_{cause}"
    assert answer.content.startswith(delta("a"))
    assert (exchange.outcome, exchange.cause, exchange.truncated) == ("truncated", cause, True)
    assert (exchange.attempts[0].error, exchange.attempts[0].broke) == (cause, True)
    assert teacher.asked == []


async def test_openais_client_raises_where_a_stream_breaks_off(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = breaking(delta("a"), b'data: {"choi')
    async with running(teacher, student, tmp_path) as at:
        stream = await at.openai().chat.completions.create(**ASK, stream=True)
        assert (await anext(stream)).choices[0].delta.content == "a"
        with pytest.raises(openai.APIError, match="broke off"):
            await anext(stream)


async def test_an_upstreams_own_error_event_passes_and_counts(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    sent = delta("a") + event(ERROR) + DONE
    teacher.script = saying(sent)
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": True})
        exchange = await at.exchange()
    assert answer.content == sent
    assert (exchange.outcome, exchange.cause) == ("truncated", "error_event")


# --- hang-ups ---------------------------------------------------------------------------------------------------------


async def slow(asked: Asked) -> Any:
    """A stream that goes on for ever, until its client is gone."""
    response = await begun(asked)
    while True:
        await response.write(delta("more "))
        await asyncio.sleep(0.01)


async def hang_up(at: Running, upstream: ModelServer, *, stream: bool, after: int) -> None:
    """Ask, read `after` chunks, leave."""
    client = at.http()
    if after == 0:
        request = asyncio.ensure_future(client.post(PATH, json={**ASK, "stream": stream}))
        await until(lambda: bool(upstream.asked))
        request.cancel()
        await asyncio.wait([request])
        return
    async with client.stream("POST", PATH, json={**ASK, "stream": stream}) as answer:
        chunks = answer.aiter_raw()
        for _ in range(after):
            await anext(chunks)


@pytest.mark.parametrize(("stream", "after"), [(False, 0), (True, 0), (True, 2)])
async def test_a_client_that_hangs_up_closes_its_upstream_and_blames_nobody(
    stream: bool, after: int, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = slow if after else hanging()
    async with running(teacher, student, tmp_path) as at:
        await hang_up(at, teacher, stream=stream, after=after)
        await asyncio.wait_for(teacher.asked[0].gone.wait(), PATIENCE_S)
        exchange = await at.exchange()
        assert at.gateway.front.admission.open == 0
        metrics = (await at.http(None).get(f"http://127.0.0.1:{at.gateway.own_port}/metrics")).text
    assert (exchange.outcome, exchange.client_gone) == ("client_cancelled", True)
    assert (exchange.attempts[0].error, exchange.attempts[0].broke) == (None, False)
    assert 'tutelage_gateway_breaker{upstream="big"} 0.0' in metrics
    assert 'status="gone"} 1.0' in metrics


async def test_when_the_client_of_a_sampled_exchange_hangs_up_both_arms_are_asked_again(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = hanging()
    async with running(teacher, student, tmp_path, sampling=EVERYTHING) as at:
        await until(lambda: at.gateway.front.routing.sequence == 1)
        teacher.script = hanging()
        request = asyncio.ensure_future(at.http().post(PATH, json=ASK))
        await until(lambda: bool(teacher.asked))
        teacher.script = answering("again")
        request.cancel()
        await until(lambda: len(at.shadows()) == 2)
        purposes = {(shadow.attempt.arm, shadow.attempt.purpose) for shadow in at.shadows() if shadow.attempt}
    assert purposes == {("student", "shadow"), ("teacher", "rescore")}


# --- shadows ----------------------------------------------------------------------------------------------------------


async def test_a_sampled_request_is_shadowed_without_store_and_metadata(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    asked = {**ASK, "store": True, "metadata": {"a": "b"}, "temperature": 0}
    async with running(teacher, student, tmp_path, sampling=EVERYTHING) as at:
        answer = await at.http().post(PATH, json=asked)
        await until(lambda: len(at.shadows()) == 1)
        (shadow,), exchange = at.shadows(), await at.exchange()
    assert answer.headers["x-tutelage-arm"] == "teacher"
    assert shadow.exchange_id == exchange.id
    assert shadow.attempt is not None
    assert (shadow.attempt.arm, shadow.attempt.purpose, shadow.attempt.error) == ("student", "shadow", None)
    assert student.asked[0].json == {**ASK, "model": "small-1", "temperature": 0}
    assert student.asked[0].headers["x-request-id"] != teacher.asked[0].headers["x-request-id"]


async def test_where_the_fallback_answered_the_shadows_arm_is_not_asked_twice(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    student.script = failing(500)
    async with running(teacher, student, tmp_path, share_bp=10_000, sampling=EVERYTHING) as at:
        await at.http().post(PATH, json=ASK)
        await until(lambda: len(at.shadows()) == 1)
        (shadow,) = at.shadows()
        assert at.gateway._shadows.taken == 0
    assert (shadow.attempt, shadow.lost) == (None, "answered_in_fallback")
    assert len(teacher.asked) == 1


async def test_without_a_slot_a_request_is_not_sampled(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    def change(content: dict[str, Any]) -> None:
        content["limits"] = {"shadows": 1}

    student.script = hanging()
    async with running(teacher, student, tmp_path, sampling=EVERYTHING, change=change) as at:
        for user in ("1", "2"):
            assert (await at.http().post(PATH, json={**ASK, "user": user})).status_code == 200
        await until(lambda: len(at.exchanges()) == 2)
        shadowed = sorted(exchange.plan.shadow or "" for exchange in at.exchanges())
        metrics = (await at.http(None).get(f"http://127.0.0.1:{at.gateway.own_port}/metrics")).text
        student.asked[0].request.transport.abort()  # type: ignore[union-attr]
    assert shadowed == ["", "student"]
    assert 'tutelage_gateway_shadow_shed_total{route="chat"} 1.0' in metrics


async def test_who_opted_out_is_not_shadowed(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, sampling=EVERYTHING) as at:
        await at.http().post(PATH, json=ASK, headers={"x-tutelage-log": "metadata"})
        await at.http(PINNER).post(PATH, json={**ASK, "user": "x"}, headers={"x-tutelage-arm": "teacher"})
        await until(lambda: len(at.exchanges()) == 2)
        assert {exchange.plan.shadow for exchange in at.exchanges()} == {None}
    assert student.asked == []


# --- the process ------------------------------------------------------------------------------------------------------


async def test_a_plain_answer_beyond_the_bound_is_relayed_and_not_kept(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def change(content: dict[str, Any]) -> None:
        content["limits"] = {"answer_mb": 0.1}

    large = completion("x" * 1_000_000)
    teacher.script = body(large)
    async with running(teacher, student, tmp_path, change=change) as at:
        answer = await at.http().post(PATH, json=ASK)
        exchange = await at.exchange()
    assert answer.content == large
    assert exchange.attempts[0].answer is None


async def test_one_slow_reader_does_not_hold_up_another(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async def flood(asked: Asked) -> Any:
        if not asked.json.get("stream"):
            return plain(completion("quick"))
        return await streamed(asked, *(delta("x" * 10_000) for _ in range(300)), DONE)

    teacher.script = flood
    async with (
        running(teacher, student, tmp_path) as at,
        at.http().stream("POST", PATH, json={**ASK, "stream": True}) as slow_answer,
    ):
        quick = await asyncio.wait_for(at.http().post(PATH, json=ASK), PATIENCE_S)
        assert quick.status_code == 200
        size = sum([len(chunk) async for chunk in slow_answer.aiter_raw()])
    assert size > 3_000_000


async def test_an_unknown_host_is_a_connect_failure(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.url = "http://no-such-host.invalid/v1"
    async with running(teacher, student, tmp_path) as at:
        answer: httpx.Response = await at.http().post(PATH, json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_connect")
    assert "no-such-host" not in answer.text


@pytest.mark.parametrize(("share_bp", "asked"), [(0, 2), (10_000, 1)])
async def test_a_successor_is_asked_wherever_the_student_is_shadowed(
    share_bp: int, asked: int, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def change(document: dict[str, Any]) -> None:
        document["upstreams"]["next"] = {**document["upstreams"]["small"], "version": "s2", "base_url": student.url}
        document["routes"]["chat"]["student"] = "next"

    async with running(teacher, student, tmp_path, sampling=EVERYTHING, share_bp=share_bp, change=change) as at:
        heir = Successor(student="next@s2", epoch="e2", since=1)
        await at.publish(rollouts={"chat": rollout(share_bp, successor=heir)})
        await at.openai().chat.completions.create(**ASK)
        await until(lambda: len(at.shadows()) == asked)
        exchange = await at.exchange()
        assert exchange.successor == ("next@s2" if asked == 2 else None)
        versions = {shadow.attempt.version for shadow in at.shadows() if shadow.attempt is not None}
        assert versions == ({"s1", "s2"} if asked == 2 else {"t1"})


@pytest.mark.parametrize("later", [False, True])
async def test_records_are_priced_by_what_control_published(
    later: bool, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    free = validated(document(teacher.url, student.url, tmp_path), "test")
    published = free.public()
    published["upstreams"]["big"]["cost"] = {"prompt_usd_per_mtok": 1000, "completion_usd_per_mtok": 0}
    dear = PublishedConfig(digest="dear", settings=published, published_at=0.0)
    begun = replace_snapshot(snapshot_of(free, KEYS), generation=1, sequence=1, rollouts={"chat": rollout(0)})
    store = MemoryStore(begun if later else replace_snapshot(begun, config=dear))
    async with running(teacher, student, tmp_path, store=store) as at:
        if later:
            await at.publish(config=dear)
        await at.openai().chat.completions.create(**ASK)
        attempt = (await at.exchange()).attempts[0]
    assert attempt.usage is not None
    assert attempt.cost_nusd == (attempt.usage.prompt or 0) * 1_000_000 > 0
