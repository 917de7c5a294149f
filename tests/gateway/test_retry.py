"""What the same arm is asked again for: the table, and the dispatcher doing it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.retry import MAX_WAIT_S, WAIT_S, wait_before_retry
from tests.gateway.harness import PINNER, running, until
from tests.gateway.model_server import Asked, ModelServer, Script, answering, failing
from tests.tutelage.capture.raws import attempt

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
SOON = WAIT_S * 1.5


@pytest.mark.parametrize(
    ("status", "error", "headers", "wait_s"),
    [
        (None, "connect", (), SOON),
        (None, "broken", (), SOON),
        (200, "broken", (), None),
        (None, "timeout_connect", (), None),
        (None, "timeout_first_token", (), None),
        (200, "error_event", (), None),
        (500, "status_500", (), None),
        (400, "status_400", (), None),
        (502, "status_502", (), SOON),
        (503, "status_503", (), SOON),
        (529, "status_529", (), SOON),
        (503, "status_503", ((b"retry-after", b"1"),), 1.0),
        (503, "status_503", ((b"retry-after", b"2"),), None),
        (503, "status_503", ((b"retry-after", b"0"),), SOON),
        (503, "status_503", ((b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT"),), None),
        (429, "status_429", (), None),
        (429, "status_429", ((b"retry-after", b"1"),), MAX_WAIT_S),
        (429, "status_429", ((b"retry-after", b"30"),), None),
        (429, "status_429", ((b"retry-after", b"30"), (b"retry-after-ms", b"250")), 0.25),
    ],
)
def test_a_fault_is_asked_again_for_or_not(status, error, headers, wait_s):
    failed = attempt(b"", status=status, error=error, headers=headers)
    assert wait_before_retry(failed, 0.5) == (None if wait_s is None else pytest.approx(wait_s))


def failing_at_first(fault: Script, times: int = 1) -> Script:
    left = times

    async def script(asked: Asked) -> Any:
        nonlocal left
        left -= 1
        return await (fault(asked) if left >= 0 else answering("better")(asked))

    return script


async def hanging_up(asked: Asked) -> Any:
    assert asked.request.transport is not None
    asked.request.transport.abort()
    await asyncio.Event().wait()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [failing(503), failing(529), failing(429, retry_after="0"), hanging_up])
async def test_what_a_retry_cures_is_answered_by_the_same_arm(
    fault: Script, stream: bool, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    student.script = failing_at_first(fault)
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        began = time.perf_counter()
        answer = await at.http().post(PATH, json={**ASK, "stream": stream})
        took_ms = (time.perf_counter() - began) * 1000
        exchange = await at.exchange()
        metrics = at.gateway.front.metrics.text().decode()
    assert (answer.status_code, answer.headers["x-tutelage-arm"]) == (200, "student")
    assert [(made.arm, made.purpose) for made in exchange.attempts] == [("student", "serve"), ("student", "retry")]
    assert (exchange.outcome, exchange.cause, exchange.attempts[1].error) == ("ok", None, None)
    others_ms = took_ms - float(answer.headers["x-tutelage-overhead-ms"])
    assert others_ms >= WAIT_S * 1000, "the wait is not the gateway's own time"
    assert f'tutelage_gateway_retries_total{{cause="{exchange.attempts[0].error}",upstream="small"}} 1.0' in metrics
    assert not teacher.asked


async def test_the_last_arms_error_reaches_the_client_after_one_retry(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = failing(503, "try later")
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http(PINNER).post(PATH, json=ASK, headers={"x-tutelage-arm": "teacher"})
        exchange = await at.exchange()
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "try later")
    assert [made.purpose for made in exchange.attempts] == ["serve", "retry"]
    assert (exchange.outcome, exchange.cause) == ("upstream_error", "status_503")


async def test_the_clients_own_fault_is_not_asked_again(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = failing(400)
    async with running(teacher, student, tmp_path) as at:
        assert (await at.http().post(PATH, json=ASK)).status_code == 400
    assert len(teacher.asked) == 1


async def test_a_client_that_leaves_while_a_retry_waits_ends_it(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = failing(503, retry_after="1")
    async with running(teacher, student, tmp_path) as at:
        asking = asyncio.ensure_future(at.http().post(PATH, json=ASK))
        await until(lambda: len(teacher.asked) == 1 and at.gateway._lanes["big"].calls == 0)
        asking.cancel()
        exchange = await at.exchange()
        assert (exchange.outcome, len(exchange.attempts)) == ("client_cancelled", 1)
        assert at.gateway._lanes["big"].calls == 0


@pytest.mark.parametrize("fault", [failing(503), hanging_up])
async def test_when_the_budget_is_spent_the_clients_sdk_is_told_not_to_try_either(
    fault: Script, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = fault
    async with running(teacher, student, tmp_path) as at:
        client, lane = at.http(), at.gateway._lanes["big"]
        answer = await client.post(PATH, json=ASK)
        assert "x-should-retry" not in answer.headers
        while lane.may_retry():
            pass
        answer = await client.post(PATH, json=ASK)
        assert answer.status_code in (502, 503)
        assert answer.headers["x-should-retry"] == "false"


async def test_what_the_upstream_says_of_retrying_is_replaced_not_doubled(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = failing(503, **{"x-should-retry": "true"})
    async with running(teacher, student, tmp_path) as at:
        lane = at.gateway._lanes["big"]
        while lane.may_retry():
            pass
        answer = await at.http().post(PATH, json=ASK)
        assert answer.headers.get_list("x-should-retry") == ["false"]
