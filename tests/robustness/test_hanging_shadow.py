"""R11: a shadow arm that hangs for minutes: clients notice nothing."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.upstreams.server import Exchange, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import EVERYTHING, Answer, ask, asking, client_of, gateway_process, model, quantile

CLIENTS = 4
MANY = 5_000


def with_a_calm_twin(content: dict[str, Any]) -> None:
    """The route `calm` is `chat` with a student that answers."""
    big, small = content["upstreams"]["big"], content["upstreams"]["small"]
    content["upstreams"]["healthy"] = {**small, "base_url": big["base_url"]}
    content["routes"]["calm"] = {**content["routes"]["chat"], "student": "healthy", "match": []}
    content["gateway"]["drain_deadline"] = "1s"


@pytest.mark.parametrize("pairs", [400, pytest.param(5_000, marks=pytest.mark.nightly)])
async def test_clients_do_not_notice_a_shadow_arm_that_hangs(pairs: int, tmp_path: Path, figure: Figure):
    """Pairs in one run: the same request to a route whose shadow hangs and to one whose shadow answers, in turns. The median of
    their differences is nothing, as sure as the number of pairs makes one; the long form looks at the tail as well."""
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
        answers = list[dict[str, Answer]]()

        async def client(number: int) -> None:
            for turn in range(pairs // CLIENTS):
                pair = dict[str, Answer]()
                for route in ("chat", "calm") if turn % 2 else ("calm", "chat"):
                    pair[route] = await ask(pool, asking(route, f"{number}-{turn}"))
                answers.append(pair)

        await client(0)  # warm
        answers.clear()
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
        await pool.aclose()
    assert hanging == 64, "every slot of limits.shadows hangs"
    assert {answer.status for pair in answers for answer in pair.values()} == {200}
    calm = {part: quantile([pair["calm"].total_s for pair in answers], part) for part in (0.5, 0.99)}
    change = {part: quantile([pair["chat"].total_s for pair in answers], part) - calm[part] for part in calm}
    figure("R11", f"shadow hangs, {pairs} pairs: change of p50 / p99 (p50 is {calm[0.5] * 1000:.2f} ms)", "≤ 1 % or 2 ms",
           f"{change[0.5] * 1000:+.2f} / {change[0.99] * 1000:+.2f} ms")  # fmt: skip
    assert least_median([pair["chat"].total_s - pair["calm"].total_s for pair in answers]) <= 0.002
    if pairs >= MANY:
        assert change[0.99] <= max(0.002, 0.01 * calm[0.99])


def least_median(differences: Sequence[float]) -> float:
    """What the median is above, but for one time in 100,000: an order statistic, whatever the law."""
    return sorted(differences)[int(len(differences) / 2 - 4.3 * len(differences) ** 0.5 / 2)]
