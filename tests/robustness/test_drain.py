"""R2: SIGTERM at any moment under open streams: each gets its end or is told, what was accepted is answered and on disk."""

import asyncio
import json
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.harness import KEY, running
from tests.gateway.model_server import ModelServer
from tests.gateway.upstreams.contract import EVENTS, event
from tests.gateway.upstreams.server import Exchange, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import DONE, Answer, ask, asking, client_of, exchanges, gateway_process, model

EVENTS_EACH, GAP_S = 20, 0.02
BODY = b'{"model":"chat","messages":[{"role":"user","content":"hello"}]}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
) % (KEY.encode(), len(BODY), BODY)


async def talking(exchange: Exchange) -> None:
    await exchange.begin_chunked(EVENTS)
    for number in range(EVENTS_EACH):
        await exchange.chunk(event(f"{number} "))
        await asyncio.sleep(GAP_S)
    await exchange.chunk(event("", "stop") + DONE)
    await exchange.end_chunked()


def told(answer: Answer) -> bool:
    """The stream ended as streams end, or said why it does not."""
    if answer.body.endswith(DONE):
        return True
    last = answer.body.rstrip().rpartition(b"data: ")[2]
    return b'"gateway_shutdown"' in last and json.loads(last)["error"]["type"] == "server_error"


@pytest.mark.parametrize(("rounds", "streams"), [(2, 40), pytest.param(20, 200, marks=pytest.mark.nightly)])
async def test_no_stream_ends_without_a_word(rounds: int, streams: int, tmp_path: Path, figure: Figure):
    draw = random.Random(rounds)
    untold = failed = cut = late = 0
    async with scripted(talking) as server:
        for round_ in range(rounds):
            data_dir = tmp_path / str(round_)
            data_dir.mkdir()
            answers, durable, code = await _round(server.url, data_dir, streams, draw, hasty=round_ % 2 == 0)
            accepted = [answer for answer in answers if answer.status == 200]
            untold += sum(not told(answer) for answer in accepted)
            cut += sum(not answer.body.endswith(DONE) for answer in accepted)
            failed += sum(answer.status not in (0, 200, 503) or answer.fault == "broken" for answer in answers)
            ids = {dict(answer.headers)[b"x-tutelage-request-id"].decode() for answer in accepted}
            late += len(ids - durable)
            assert code == 0
    figure(
        "R2",
        f"{rounds} × SIGTERM under {streams} streams ({cut} cut at the deadline): without a word / failed / not on disk",
        "0 / 0 / 0",
        f"{untold} / {failed} / {late}",
    )
    assert (untold, failed, late) == (0, 0, 0)


async def _round(
    url: str, data_dir: Path, streams: int, draw: random.Random, *, hasty: bool
) -> tuple[list[Answer], set[str], int]:
    def change(content: dict[str, Any]) -> None:
        content["gateway"]["drain_deadline"] = "150ms" if hasty else "10s"
        content["upstreams"]["big"]["max_connections"] = streams

    async with gateway_process(url, url, data_dir, change=change) as gateway:
        pool = client_of(gateway.url, streams)

        async def client(number: int) -> Answer:
            await asyncio.sleep(number / streams * EVENTS_EACH * GAP_S)
            return await ask(pool, asking(user=str(number), stream=True))

        tasks = [asyncio.ensure_future(client(number)) for number in range(streams)]
        await asyncio.sleep(draw.uniform(0.2, 1.2) * EVENTS_EACH * GAP_S)
        gateway.child.terminate()
        answers = await asyncio.gather(*tasks)
        await pool.aclose()
        code = await asyncio.wait_for(gateway.child.wait(), 30)
    ended = gateway.said("ended")
    records = exchanges(data_dir)
    assert ended is not None
    assert (ended["in_queue"], ended["durable"]) == (0, len(records)), "what was eligible is on disk"
    return answers, {record.id for record in records}, code


async def test_who_waits_to_be_accepted_when_the_drain_begins_is_served(tmp_path: Path):
    """The system has taken these connections, the process has not yet looked: none of this lets the event loop turn."""
    async with scripted(model("teacher")) as server:
        teacher = ModelServer(name="t", script=lambda _: pytest.fail("not asked"), url=server.url)
        async with running(teacher, teacher, tmp_path) as at:
            clients = [socket.create_connection(("127.0.0.1", at.gateway.port)) for _ in range(20)]
            for client in clients:
                client.sendall(REQUEST)
                client.setblocking(False)
            at.gateway.stop()
            loop = asyncio.get_running_loop()
            answers = await asyncio.gather(*(loop.sock_recv(client, 65536) for client in clients))
            assert await at.task == 0
        for client in clients:
            client.close()
    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert all(b"connection: close" in answer for answer in answers)
