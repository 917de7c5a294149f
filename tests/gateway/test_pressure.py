"""When the event loop is behind: a simulated one for the arithmetic, a real one for what is turned away first."""

import asyncio
import heapq
import random
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import Any

import pytest

from gateway.pressure import BEAT_S, CALM_BEATS, LATE_S, MIN_RATE, RATE_AFTER_S, SHED_BEATS, Pressure, Pulse
from router.types import Sampling
from tests.gateway.harness import INTERNAL, running, until
from tests.gateway.model_server import ModelServer, answering, hanging

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
EVERYTHING = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)
COST_S = 0.0005


def beats(pressure: Pressure, *late_s: float, admitted: int = 50) -> None:
    for late in late_s:
        for _ in range(admitted):
            pressure.admit()
        pressure.beat(late, BEAT_S + late)


def test_a_single_late_beat_is_a_pause_and_changes_nothing():
    pressure = Pressure()
    beats(pressure, 0.0, 1.0, 0.0, LATE_S, 0.0)
    assert not pressure.shedding
    assert pressure.rate == inf


def test_the_optional_goes_first_and_comes_back_last():
    pressure = Pressure()
    beats(pressure, *[LATE_S] * SHED_BEATS)
    assert pressure.shedding
    assert pressure.rate == inf
    beats(pressure, *[LATE_S] * ceil(RATE_AFTER_S / LATE_S))
    assert pressure.rate < inf
    beats(pressure, *[0.0] * (CALM_BEATS - 1), admitted=1)
    assert pressure.shedding
    beats(pressure, 0.0, admitted=1)
    assert not pressure.shedding
    assert pressure.rate == inf


def test_a_rate_stays_while_somebody_is_turned_away_and_has_a_floor():
    pressure = Pressure()
    beats(pressure, *[1.0] * 200)
    assert pressure.rate == MIN_RATE
    beats(pressure, *[0.0] * (3 * CALM_BEATS))
    assert MIN_RATE < pressure.rate < inf


@dataclass(kw_only=True)
class Run:
    goodput: float
    """As a part of what the loop can do."""
    refused_after_s: list[float]
    admitted_all: bool


def simulated(load: float, refusal_cost: float, seconds: float = 5.0) -> Run:
    """A loop on which a request is work twice, when it comes and when its upstream answers; `load` times what it can do comes,
    whatever became of the last one. A refusal costs that part of a request."""
    draw, pressure, now = random.Random(1), Pressure(), 0.0
    arrives, beat_at, last = 0.0, BEAT_S, 0.0
    answers: list[float] = []
    refused: list[float] = []
    done = 0
    while now < seconds:
        came, answered = [], sum(at <= now for at in answers)
        while arrives <= now:
            came.append(arrives)
            arrives += draw.expovariate(load / COST_S)
        for at in came:
            if pressure.admit():
                now += COST_S / 2
                heapq.heappush(answers, now + 0.1)
            else:
                now += COST_S * refusal_cost
                refused.append(now - at)
        for _ in range(answered):
            heapq.heappop(answers)
            now += COST_S / 2
            done += 1
        if now >= beat_at:
            pressure.beat(now - beat_at, now - last)
            last, beat_at = now, now + BEAT_S
        now = max(now, min(arrives, beat_at, *answers[:1]))
    return Run(goodput=done * COST_S / seconds, refused_after_s=sorted(refused), admitted_all=not refused)


def test_below_what_the_loop_can_do_nobody_is_turned_away():
    run = simulated(0.9, 0.1)
    assert run.admitted_all
    assert run.goodput > 0.85


@pytest.mark.parametrize("refusal_cost", [0.0, 0.1])
@pytest.mark.parametrize("load", [1.2, 3.0])
def test_above_it_goodput_stays_near_what_refusals_leave(load: float, refusal_cost: float):
    run = simulated(load, refusal_cost)
    assert run.goodput >= 0.93 * (1 - load * refusal_cost) / (1 - refusal_cost)
    assert run.refused_after_s[len(run.refused_after_s) // 2] <= 0.05


async def test_a_pulse_feels_work_and_not_sleep():
    pressure = Pressure()
    pulse = Pulse(pressure)
    try:
        await asyncio.sleep(3 * BEAT_S)
        assert pressure.late_s < LATE_S
        spinning_until = asyncio.get_running_loop().time() + 4 * BEAT_S
        while asyncio.get_running_loop().time() < spinning_until:
            pass
        await asyncio.sleep(0)
        await until(lambda: pressure.late_s > 0)
    finally:
        pulse.stop()


def few(content: dict[str, Any]) -> None:
    content["limits"] = {"streams": 5}


async def test_when_nearly_all_places_are_taken_shadows_and_judges_wait_first(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = hanging()
    async with running(teacher, student, tmp_path, sampling=EVERYTHING, change=few) as at:
        client, judge = at.http(), at.http(INTERNAL)
        open_ = [asyncio.ensure_future(client.post(PATH, json={**ASK, "user": str(n)})) for n in range(4)]
        await until(lambda: len(teacher.asked) == 4)
        open_.append(asyncio.ensure_future(client.post(PATH, json=ASK)))
        await until(lambda: len(teacher.asked) == 5)
        assert at.gateway._shadows.taken == 4, "the fifth was served and not sampled"
        refused = await client.post(PATH, json=ASK)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        open_.pop().cancel()
        await until(lambda: at.gateway.front.admission.open == 4)
        teacher.script = answering("ok")
        assert (await client.post(PATH, json=ASK)).status_code == 200
        open_.append(asyncio.ensure_future(at.http().post(PATH, json=ASK)))
        await open_.pop()
        for task in open_:
            task.cancel()
        await until(lambda: at.gateway.front.admission.open == 0)
        assert (await judge.post(PATH, json={**ASK, "model": "judge:big"})).status_code == 200


async def test_when_the_loop_is_behind_judges_and_shadows_are_turned_away_and_clients_at_a_rate(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, sampling=EVERYTHING) as at:
        pressure = at.gateway.front.admission._pressure
        client, judge = at.http(), at.http(INTERNAL)
        for _ in range(SHED_BEATS):
            pressure.beat(LATE_S, BEAT_S)
        assert (await client.post(PATH, json=ASK)).status_code == 200
        assert at.gateway._shadows.taken == 0
        refused = await judge.post(PATH, json={**ASK, "model": "judge:big"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        for _ in range(SHED_BEATS):
            pressure.beat(RATE_AFTER_S, BEAT_S + RATE_AFTER_S)
        answers = [await client.post(PATH, json=ASK) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 503, 503]
        assert answers[-1].json()["error"]["code"] == "overloaded"
        assert answers[-1].headers["x-should-retry"] == "true"
        shown = at.gateway.front.metrics.text().decode()
        assert "tutelage_gateway_shedding 1.0" in shown
