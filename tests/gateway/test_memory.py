"""One bound over all bodies and answers: new requests are refused, what is on its way is served, what was taken comes back."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.memory import Memory
from tests.gateway.harness import KEY, PATIENCE_S, Running, running, until
from tests.gateway.model_server import (
    DONE,
    Asked,
    ModelServer,
    Script,
    answering,
    completion,
    event,
    failing,
    plain,
    streamed,
)
from tutelage.contracts.settings import LimitSettings

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
MB = 2**20


def of_one_mb(content: dict[str, Any]) -> None:
    content["limits"] = {"memory_mb": 1, "request_mb": 1}


def memory(gateway: Running) -> Memory:
    return gateway.gateway.front.admission.memory


async def uploading(gateway: Running, size: int, declared: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request of which `size` bytes of `declared` were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.gateway.port)
    head = f"POST {PATH} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\ncontent-length: {declared}\r\n\r\n"
    writer.write(head.encode() + b" " * size)
    return reader, writer


async def test_while_bodies_fill_the_memory_others_are_refused(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, change=of_one_mb) as gateway:
        _, first = await uploading(gateway, MB // 2, MB)
        await until(lambda: memory(gateway).taken_bytes == MB // 2)
        refused, second = await uploading(gateway, MB * 3 // 4, MB)
        assert b" 503 " in await refused.readline(), "the body that does not fit is refused while it comes"
        await until(lambda: memory(gateway).taken_bytes == MB // 2)
        first.write(b" " * (MB // 2 - 1))
        await until(lambda: memory(gateway).tight)
        assert gateway.gateway.front.admission.shedding, "shadows and judges go first"
        first.close()
        second.close()
        await until(lambda: memory(gateway).taken_bytes == 0)
        assert (await gateway.http().post(PATH, json=ASK)).status_code == 200


async def test_when_memory_is_full_new_requests_are_told_to_come_again(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    told, asked = asyncio.Event(), asyncio.Event()

    async def script(_: Asked) -> Any:
        asked.set()
        await told.wait()
        return plain(completion("late"))

    teacher.script = script
    async with running(teacher, student, tmp_path, change=of_one_mb) as gateway:
        http = gateway.http()
        text = "x" * (MB - 100)
        large = asyncio.ensure_future(http.post(PATH, json={"model": "solo", "messages": text, "more": "x" * 20}))
        await asked.wait()
        memory(gateway).taken_bytes += 1_000
        refused = await http.post(PATH, json=ASK)
        memory(gateway).taken_bytes -= 1_000
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["code"] == "overloaded"
        told.set()
        assert (await large).status_code == 200


@pytest.mark.parametrize("log", ["full", "off"])
async def test_an_answer_that_does_not_fit_is_relayed_and_not_kept(
    teacher: ModelServer, student: ModelServer, tmp_path: Path, log: str
):
    long = completion("x" * 2 * MB)

    async def script(_: Asked) -> Any:
        return plain(long)

    teacher.script = script
    async with running(teacher, student, tmp_path, change=of_one_mb) as gateway:
        answer = await gateway.http().post(PATH, json=ASK, headers={"x-tutelage-log": log})
        assert (answer.status_code, answer.content) == (200, long)
        if log == "full":
            kept = await gateway.exchange()
            assert (kept.attempts[0].answer, kept.outcome) == (None, "ok")
        await until(lambda: memory(gateway).taken_bytes == 0)


async def test_an_answer_counts_until_its_reader_has_it(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    long = completion("x" * 8 * MB)

    async def script(_: Asked) -> Any:
        return plain(long)

    teacher.script = script
    async with running(teacher, student, tmp_path) as gateway, httpx.AsyncClient(timeout=PATIENCE_S) as http:
        headers = {"authorization": f"Bearer {KEY}"}
        async with http.stream("POST", gateway.url + PATH, json=ASK, headers=headers) as answer:
            await until(lambda: memory(gateway).taken_bytes > 8 * MB)
            assert gateway.gateway.front.admission.open == 1
            assert await answer.aread() == long
        await until(lambda: memory(gateway).taken_bytes == 0)


@pytest.mark.parametrize(
    "told", [(401, MB // 8, "upstream_status_401"), (400, MB // 8, "x"), (400, 2 * MB, "upstream_status_400")]
)
async def test_an_error_is_looked_through_however_full_the_memory_is(
    teacher: ModelServer, student: ModelServer, tmp_path: Path, told: tuple[int, int, str]
):
    status, size, code = told
    host = teacher.url.removeprefix("http://").removesuffix("/v1")
    fails = failing(status, f"key sk-secr***t at {host}" + "x" * size)

    async def script(asked: Asked) -> Any:
        memory(gateway).taken_bytes += MB
        return await fails(asked)

    teacher.script = script
    async with running(teacher, student, tmp_path, change=of_one_mb) as gateway:
        answer = await gateway.http().post(PATH, json={"model": "solo", "messages": []})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert host not in answer.text
        assert ("sk-" in answer.text) == (code == "x"), "the client's own error is the client's to read"
        memory(gateway).taken_bytes -= MB


def filling(gateway: list[Running], answer: Any) -> Script:
    """A model that answers when the gateway's memory has just become full, for as long as the test lasts."""

    async def script(asked: Asked) -> Any:
        memory(gateway[0]).taken_bytes += MB
        return await answer(asked) if callable(answer) else plain(answer)

    return script


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_with_status_200_falls_back_however_full_the_memory_is(
    teacher: ModelServer, student: ModelServer, tmp_path: Path, stream: bool
):
    told = event({"error": {"message": "m" * 50_000, "code": "x"}})
    at: list[Running] = []

    async def in_pieces(asked: Asked) -> Any:
        return await streamed(asked, *(told[start : start + 7_000] for start in range(0, len(told), 7_000)), DONE)

    student.script = filling(at, in_pieces if stream else told[6:])
    async with running(teacher, student, tmp_path, share_bp=10_000, change=of_one_mb) as gateway:
        at.append(gateway)
        answer = await gateway.http().post(PATH, json={**ASK, "stream": stream})
        memory(gateway).taken_bytes -= MB
        assert (answer.status_code, answer.headers["x-tutelage-arm"]) == (200, "teacher")
        assert len(student.asked) == 1
        assert b"mmm" not in answer.content


@pytest.mark.parametrize("where", ["whole", "at its beginning"])
async def test_the_model_is_echoed_however_full_the_memory_is(
    teacher: ModelServer, student: ModelServer, tmp_path: Path, where: str
):
    long, at = completion("x" * (1_000 if where == "whole" else 2 * MB), model="nested"), list[Running]()
    teacher.script = filling(at, long)
    async with running(teacher, student, tmp_path, model="echo", change=of_one_mb) as gateway:
        at.append(gateway)
        answer = await gateway.http().post(PATH, json=ASK)
        memory(gateway).taken_bytes -= MB
        assert answer.json() == {**json.loads(long), "model": "chat"}
        await until(lambda: memory(gateway).taken_bytes == 0)


async def test_an_answer_whose_model_could_not_be_echoed_is_refused_not_changed(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    fields, at = json.loads(completion("x" * 2 * MB)), list[Running]()
    teacher.script = filling(at, json.dumps({**dict(reversed(fields.items()))}).encode())
    async with running(teacher, student, tmp_path, model="echo", change=of_one_mb) as gateway:
        at.append(gateway)
        refused = await gateway.http().post(PATH, json=ASK)
        memory(gateway).taken_bytes -= MB
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        kept = await gateway.exchange()
        assert (kept.outcome, kept.cause) == ("upstream_error", "memory_full")
        teacher.script = answering("short")
        again = await gateway.http().post(PATH, json=ASK)
        assert (again.status_code, again.json()["model"]) == (200, "chat")
        await until(lambda: memory(gateway).taken_bytes == 0)


def test_a_bound_below_the_largest_request_is_refused():
    with pytest.raises(ValueError, match="memory_mb 1 is below request_mb 32"):
        LimitSettings(memory_mb=1)
