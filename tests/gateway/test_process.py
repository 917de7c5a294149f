"""The process itself: `python -m gateway` on the embedded store, SIGTERM under open streams, restart without a store."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.harness import KEY, PATIENCE_S, document, running, until
from tests.gateway.model_server import DONE, ModelServer, begun, delta
from tests.gateway.process import process, publish, written

ASK = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}


def ruin_store(data_dir: Path) -> None:
    for path in data_dir.glob("tutelage.db*"):
        path.unlink()
    (data_dir / "tutelage.db").mkdir()


async def test_a_drain_lets_open_streams_finish_and_cuts_late_ones_in_band(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    finish = asyncio.Event()

    async def script(asked: Any) -> Any:
        response = await begun(asked)
        await response.write(delta("first"))
        await (finish.wait() if asked.json.get("user") == "patient" else asyncio.Event().wait())
        await response.write(DONE)
        return response

    teacher.script = script
    content = document(teacher.url, student.url, tmp_path)
    content["gateway"]["drain_deadline"] = "4s"
    publish(content)
    async with process(written(tmp_path / "tutelage.yaml", content)) as gateway, httpx.AsyncClient() as client:
        headers = {"authorization": f"Bearer {KEY}"}

        async def stream(user: str) -> str:
            body = {**ASK, "stream": True, "user": user}
            answer = await client.post(
                f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=PATIENCE_S
            )
            return answer.text

        patient, endless = asyncio.ensure_future(stream("patient")), asyncio.ensure_future(stream("endless"))
        await until(lambda: len(teacher.asked) == 2)
        ready = await client.get(f"{gateway.own_url}/readyz")
        assert (ready.status_code, ready.json()["source"]) == (200, "store")
        gateway.child.terminate()
        await until(lambda: gateway.said("draining") is not None)
        assert (await client.get(f"{gateway.own_url}/readyz")).status_code == 503
        finish.set()
        assert (await patient).endswith("data: [DONE]\n\n")
        assert json.loads((await endless).split("data: ")[-1])["error"]["code"] == "gateway_shutdown"
        assert await asyncio.wait_for(gateway.child.wait(), PATIENCE_S) == 0
    ended = gateway.said("ended")
    assert ended is not None
    assert (ended["durable"], ended["in_queue"]) == (2, 0)


async def test_a_request_whose_body_does_not_come_before_the_end_is_told_to_try_another(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    content = document(teacher.url, student.url, tmp_path)
    content["gateway"]["drain_deadline"] = "0.1s"
    publish(content)
    async with process(written(tmp_path / "tutelage.yaml", content)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n"
        writer.write(f"{head}content-length: 1000\r\nexpect: 100-continue\r\n\r\n".encode())
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        gateway.child.terminate()
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"draining"' in answer
        assert await asyncio.wait_for(gateway.child.wait(), PATIENCE_S) == 0


async def test_without_its_store_it_starts_from_the_snapshot_on_disk(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    content = document(teacher.url, student.url, tmp_path)
    publish(content)
    configuration = written(tmp_path / "tutelage.yaml", content)
    async with process(configuration) as gateway:
        assert await gateway.terminated() == 0
    ruin_store(tmp_path)
    async with process(configuration) as gateway, httpx.AsyncClient() as client:
        headers = {"authorization": f"Bearer {KEY}"}
        answer = await client.post(f"{gateway.url}/v1/chat/completions", json=ASK, headers=headers)
        assert answer.json()["choices"][0]["message"]["content"] == "I am teacher"
        assert (await client.get(f"{gateway.own_url}/readyz")).json()["source"] == "disk"
        metrics = (await client.get(f"{gateway.own_url}/metrics")).text
        assert 'tutelage_gateway_requests_total{arm="teacher",route="chat",status="2xx"} 1.0' in metrics
        assert await gateway.terminated() == 0


async def test_without_a_port_of_their_own_metrics_are_told_to_nobody_outside(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def everywhere(content: dict[str, Any]) -> None:
        content["gateway"] |= {"bind": "0.0.0.0:0", "metrics_port": 0}

    async with running(teacher, student, tmp_path, change=everywhere) as at, httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.2:{at.gateway.port}/livez")).status_code == 200
        assert (await client.get(f"http://127.0.0.1:{at.gateway.own_port}/metrics")).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.2:{at.gateway.own_port}/metrics")


async def test_a_configuration_that_cannot_be_used_ends_with_code_2(tmp_path: Path):
    async with process(written(tmp_path / "tutelage.yaml", {"routes": {}})) as gateway:
        assert await gateway.child.wait() == 2
    failed = gateway.said("cannot start")
    assert failed is not None
    assert "upstreams" in failed["error"]
