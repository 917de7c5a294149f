"""R22: hours of mixed traffic: memory does not grow, and the counters are the clients' own. `make soak HOURS=1`."""

import asyncio
import os
import re
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from router.types import Sampling
from tests.gateway.upstreams.server import scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import ask, asking, client_of, gateway_process, memory_bytes, model

CLIENTS, PAUSE_S = 8, 0.02
HOURS = float(os.environ.get("HOURS", "0.2"))
WARM = 0.5
"""The part of the run after which memory is looked at: it rises to its high-water mark over some eighty thousand requests."""
ARENA_BYTES = 2**20
"""What the allocator takes at a time: in a run of minutes one of these is more than 1 % an hour."""


def slope(points: list[tuple[float, int]]) -> float:
    """Least squares, bytes a second."""
    mean_t = sum(t for t, _ in points) / len(points)
    mean_m = sum(m for _, m in points) / len(points)
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (m - mean_m) for t, m in points) / spread if spread else 0.0


@pytest.mark.parametrize("seconds", [4.0, pytest.param(HOURS * 3600, id="long", marks=pytest.mark.nightly)])
async def test_memory_and_counters_after_a_long_run(seconds: float, tmp_path: Path, figure: Figure):
    statuses: Counter[str] = Counter()
    points = list[tuple[float, int]]()
    sampling = Sampling(forward_bp=2_000, reverse_bp=2_000, salt="s", version=1)
    async with (
        scripted(model("teacher", wait_s=0.005)) as teacher,
        scripted(model("student", wait_s=0.005)) as student,
        gateway_process(teacher.url, student.url, tmp_path, share_bp=5_000, sampling=sampling) as gateway,
    ):
        pool, began = client_of(gateway.url), time.monotonic()

        async def client(number: int) -> None:
            turn = 0
            while time.monotonic() < began + seconds:
                turn += 1
                name = "nobody" if turn % 10 == 0 else "chat"
                answer = await ask(pool, asking(name, user=f"{number}-{turn}", stream=turn % 2 == 0))
                statuses[f"{answer.status // 100}xx"] += 1
                await asyncio.sleep(PAUSE_S)

        async def watch() -> None:
            while time.monotonic() < began + seconds:
                points.append((time.monotonic() - began, memory_bytes(gateway.child.pid)))
                await asyncio.sleep(min(1.0, seconds / 20))

        await asyncio.gather(watch(), *(client(number) for number in range(CLIENTS)))
        await pool.aclose()
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{gateway.own_url}/metrics")).text
        assert await gateway.terminated() == 0
    counted = sum(float(n) for n in re.findall(r'gateway_requests_total{[^}]*route="chat"[^}]*} (\S+)', text))
    refused = sum(float(n) for n in re.findall(r'gateway_refused_total{code="model_not_found"} (\S+)', text))
    late = [point for point in points if point[0] > WARM * seconds]
    growth = slope(late) * 3600 / late[0][1]
    shown = (
        f"{growth:+.2%}/h ({(late[-1][1] - late[0][1]) // 1024:+} KiB)"
        if seconds >= 300
        else f"(too short: {growth:+.0%}/h)"
    )
    figure(
        "R22",
        f"{seconds / 60:.1f} min, {sum(statuses.values())} requests: memory / counters beside the clients'",
        "< +1 %/h / equal",
        f"{shown} / {counted:.0f} = {statuses['2xx']}, {refused:.0f} = {statuses['4xx']}",
    )
    assert (counted, refused) == (statuses["2xx"], statuses["4xx"])
    assert set(statuses) == {"2xx", "4xx"}
    if seconds >= 300:
        assert growth < 0.01 or late[-1][1] - late[0][1] <= ARENA_BYTES
