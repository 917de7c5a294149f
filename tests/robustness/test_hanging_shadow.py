"""R11: a shadow arm that hangs for minutes: clients notice nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.upstreams.server import Exchange, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import EVERYTHING, Answer, ask, asking, client_of, gateway_process, model, quantile

CLIENTS = 4


def with_a_calm_twin(content: dict[str, Any]) -> None:
    """The route `calm` is `chat` with a student that answers."""
    big, small = content["upstreams"]["big"], content["upstreams"]["small"]
    content["upstreams"]["healthy"] = {**small, "base_url": big["base_url"]}
    content["routes"]["calm"] = {**content["routes"]["chat"], "student": "healthy", "match": []}
    content["gateway"]["drain_deadline"] = "1s"


@pytest.mark.parametrize(
    ("pairs", "judged"), [(400, (0.5,)), pytest.param(5_000, (0.5, 0.99), marks=pytest.mark.nightly)]
)
async def test_clients_do_not_notice_a_shadow_arm_that_hangs(
    pairs: int, judged: tuple[float, ...], tmp_path: Path, figure: Figure
):
    """The quantiles that are `judged` are as they were. Pairs in one run: the same request to a route whose shadow hangs and to
    one whose shadow answers, in turns."""
    hanging = 0

    async def hang(exchange: Exchange) -> None:
        nonlocal hanging
        hanging += 1
        await exchange.until_closed()

    async with (
        scripted(model("teacher")) as teacher,
        scripted(hang) as student,
        gateway_process(teacher.url, student.url, tmp_path, sampling=EVERYTHING, change=with_a_calm_twin) as process,
    ):
        pool = client_of(process.url)
        answers: dict[str, list[Answer]] = {"chat": [], "calm": []}

        async def client(number: int) -> None:
            for turn in range(pairs // CLIENTS):
                for route in ("chat", "calm") if turn % 2 else ("calm", "chat"):
                    answers[route].append(await ask(pool, asking(route, f"{number}-{turn}")))

        await client(0)  # warm
        answers = {"chat": [], "calm": []}
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
        await pool.aclose()
    assert hanging == 64, "every slot of limits.shadows hangs"
    assert {answer.status for route in answers.values() for answer in route} == {200}
    calm = {part: quantile([answer.total_s for answer in answers["calm"]], part) for part in (0.5, 0.99)}
    change = {part: quantile([answer.total_s for answer in answers["chat"]], part) - calm[part] for part in calm}
    figure("R11", f"shadow hangs, {pairs} pairs: change of p50 / p99 (p50 is {calm[0.5] * 1000:.2f} ms)", "≤ 1 % or 2 ms",
           f"{change[0.5] * 1000:+.2f} / {change[0.99] * 1000:+.2f} ms")  # fmt: skip
    for part in judged:
        assert change[part] <= max(0.002, 0.01 * calm[part]), part
