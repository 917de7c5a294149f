"""R2: SIGTERM at any moment under open streams: each gets its end or is told, what was accepted is answered and on disk."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.upstreams.contract import EVENTS, event
from tests.gateway.upstreams.server import Exchange, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import DONE, Answer, ask, asking, client_of, exchanges, gateway_process

EVENTS_EACH, GAP_S = 20, 0.02


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
    async with scripted(talking) as model:
        for round_ in range(rounds):
            data_dir = tmp_path / str(round_)
            data_dir.mkdir()
            answers, durable, code = await _round(model.url, data_dir, streams, draw, hasty=round_ % 2 == 0)
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
