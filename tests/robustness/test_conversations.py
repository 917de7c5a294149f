"""R16: a conversation stays on its arm, turn by turn, over processes and restarts."""

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest

from tests.gateway.upstreams.server import scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import ask, asking, client_of, gateway_process, model

TURNS, CLIENTS = 5, 32


@pytest.mark.parametrize("conversations", [300, pytest.param(10_000, marks=pytest.mark.nightly)])
async def test_no_turn_is_on_the_wrong_arm(conversations: int, tmp_path: Path, figure: Figure):
    """Two processes one after the other serve a part of the turns each; half of the conversations name their session."""
    arms: defaultdict[int, set[str]] = defaultdict(set)
    statuses = set[int]()

    async def turn(url: str, turns: range) -> None:
        pool, work = client_of(url), iter([(n, t) for t in turns for n in range(conversations)])

        async def client() -> None:
            for number, asked in work:
                named = [(b"x-tutelage-session", b"s%d" % number)] if number % 2 else []
                said = [{"role": "user", "content": f"conversation {number}"}]
                for earlier in range(asked):
                    said += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": f"turn {earlier}"}]
                answer = await ask(pool, asking(headers=named, messages=said))
                statuses.add(answer.status)
                arms[number].add(answer.arm)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        await pool.aclose()

    async with scripted(model("teacher")) as teacher, scripted(model("student")) as student:
        for turns in (range(2), range(2, TURNS)):
            async with gateway_process(teacher.url, student.url, tmp_path, share_bp=5_000) as gateway:
                await turn(gateway.url, turns)
                assert await gateway.terminated() == 0
    wrong = sum(len(found) > 1 for found in arms.values())
    students = sum("student" in found for found in arms.values())
    figure("R16", f"{conversations} conversations × {TURNS} turns, one restart: on a wrong arm", "0", str(wrong))
    assert statuses == {200}
    assert wrong == 0
    assert abs(students - conversations / 2) <= 3 * (conversations / 4) ** 0.5
