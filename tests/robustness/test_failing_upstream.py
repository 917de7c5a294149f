"""R8 and R9: an upstream that dies costs clients nothing while the other arm lives, and is not hammered while it is down."""

import asyncio
from pathlib import Path

import pytest

from tests.gateway.harness import Running, running, until
from tests.gateway.model_server import ModelServer
from tests.gateway.upstreams.contract import JSON, failure
from tests.gateway.upstreams.server import Exchange, Server, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import Answer, ask, asking, client_of, model

CLIENTS = 16


async def _refuse(exchange: Exchange) -> None:
    await exchange.answer(failure("down"), status=503, headers=JSON)


async def _hang_up(exchange: Exchange) -> None:
    exchange.reset()


def at_url(name: str, server: Server) -> ModelServer:
    return ModelServer(name=name, script=lambda _: pytest.fail("not asked"), url=server.url)


async def drive(at: Running, count: int, pace_s: float = 0.0) -> list[Answer]:
    """`count` users ask once each, CLIENTS at a time, in their order."""
    pool, users, answers = client_of(at.url), iter(range(count)), list[Answer]()

    async def client() -> None:
        for user in users:
            answers.append(await ask(pool, asking(user=str(user), stream=user % 2 == 0)))
            if pace_s:
                await asyncio.sleep(pace_s)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await pool.aclose()
    return answers


DOWN = {"answers 503": _refuse, "hangs up": _hang_up}


@pytest.mark.parametrize("death", DOWN)
@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.nightly)])
async def test_a_student_that_dies_at_half_the_traffic(death: str, count: int, tmp_path: Path, figure: Figure):
    loop = asyncio.get_running_loop()
    dead_at: float | None = None
    after_death: list[float] = []
    alive = model("student", wait_s=0.002)

    async def dying(exchange: Exchange) -> None:
        nonlocal dead_at
        if exchange.number < count // 8:
            await alive(exchange)
            return
        dead_at = dead_at or loop.time()
        after_death.append(loop.time() - dead_at)
        await DOWN[death](exchange)

    async with (
        scripted(model("teacher")) as teacher,
        scripted(dying) as student,
        running(at_url("t", teacher), at_url("s", student), tmp_path, share_bp=5_000) as at,
    ):
        answers = await drive(at, count)
        await until(lambda: at.gateway._spool.counts().durable == count)
        records = at.exchanges()
    bad = [answer for answer in answers if answer.status != 200 or answer.fault]
    touched = [record for record in records if any(a.arm == "student" and a.error for a in record.attempts)]
    before_open = [seconds for seconds in after_death if seconds < 4.5]
    figure(
        "R8",
        f"student dies under {CLIENTS} clients ({death}): client errors / requests that still met it / within",
        "≤ 0.1 % / ≤ 5 s or 10",
        f"{len(bad)} of {count} / {len(touched)} / {max(before_open) * 1000:.0f} ms",
    )
    assert len(bad) <= count / 1_000
    assert max(before_open) <= 5.0
    assert len(touched) <= 10 + CLIENTS, "those that were under way, and what the breaker needs to see it"


@pytest.mark.parametrize("down", DOWN)
@pytest.mark.parametrize("arm", ["student", "teacher"])
@pytest.mark.parametrize("seconds", [1.5, pytest.param(60, marks=pytest.mark.nightly)])
async def test_an_upstream_that_is_down_is_not_hammered(
    down: str, arm: str, seconds: float, tmp_path: Path, figure: Figure
):
    """The student has the teacher behind it and is left alone. The teacher is the last resort: it is asked whatever its breaker
    says, and hardly ever twice."""
    async with scripted(model("teacher")) as good, scripted(DOWN[down]) as bad:
        teacher, student = (bad, good) if arm == "teacher" else (good, bad)
        share_bp = 10_000 if arm == "student" else 0
        async with running(at_url("t", teacher), at_url("s", student), tmp_path, share_bp=share_bp) as at:
            answers = await drive(at, int(seconds * CLIENTS * 20), pace_s=0.05)
            await until(lambda: at.gateway._spool.counts().durable == len(answers))
            records = at.exchanges()
    planned = sum(any(attempt.arm == arm for attempt in record.attempts) for record in records)
    figure(
        "R9",
        f"{arm} down ({down}): calls on it / requests planned for it",
        "≤ 1.2 × + 3",
        f"{len(bad.requests)} / {planned} of {len(answers)}",
    )
    assert len(bad.requests) <= 1.2 * planned + 3
    if arm == "student":
        assert {answer.status for answer in answers} == {200}
        assert planned < len(answers) / 4
    else:
        assert planned == len(answers)
        assert {answer.status for answer in answers} <= {502, 503}
