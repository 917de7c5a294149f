"""Raw sockets, seeded: sound requests, broken at random places and sent in random pieces.

Whatever comes, the process answers 2xx or 4xx, or closes; it goes on serving, and keeps no connection, request or task of it.

A failure names its seed; `SEEDS` of one number replays it.
"""

import asyncio
import random
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from tests.gateway.harness import KEY, running, until
from tests.gateway.model_server import model_server
from tests.hostile.target import CHAT, Target
from tests.hostile.wire import Said, connected, post, say

pytestmark = pytest.mark.anyio

SEEDS, NIGHTLY_SEEDS = range(400), range(400, 20_400)
AT_ONCE = 16
QUIET_S = 0.1
"""A connection on which nothing has come for so long waits for more of its request; longer where answers take longer."""

TOKENS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\xff", b" ", b"\t", b":", b"content-length: 10\r\n", b"content-length: -1\r\n",
    b"transfer-encoding: chunked\r\n", b"transfer-encoding: chunked, chunked\r\n", b"connection: close\r\n", b"host: x\r\n",
    b"expect: 100-continue\r\n", b"upgrade: h2c\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"HTTP/1.0", b"HTTP/2.0", b"GET ",
    b"POST ", b"\\ud800", b'"model":"chat",', b"{", b"}", b"[" * 2_000, b"e999", b"NaN", b"x" * 70_000, b"x-a: 1\r\n" * 300,
)  # fmt: skip
BODIES = (
    b'{"model":"chat","messages":[{"role":"user","content":"hello"}]}',
    b'{"model":"chat","stream":true,"messages":[{"role":"user","content":"\\u00e9 \\ud83d\\ude00"}],"n":1.50}',
)


def sound(draw: random.Random, key: str) -> bytes:
    """A request that would be served."""
    authorization = b"authorization: Bearer " + key.encode()
    body = draw.choice(BODIES)
    kind = draw.randrange(4)
    if kind == 0:
        return b"GET /v1/models HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % authorization
    if kind == 1:
        cut = draw.randrange(len(body))
        head = b"POST %s HTTP/1.1\r\nhost: x\r\n%b\r\ntransfer-encoding: chunked\r\n\r\n" % (
            CHAT.encode(),
            authorization,
        )
        return (
            head
            + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
            + b"0\r\n\r\n"
        )
    return post(CHAT, body, authorization)


def broken(draw: random.Random, data: bytes) -> bytes:
    """`data` with one to four things done to it."""
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(data) + 1)
        end = min(len(data), start + draw.choice((0, 1, 1, 2, 8, 64)))
        kind = draw.randrange(6)
        if kind == 0:
            data = data[:start] + data[end:]
        elif kind == 1:
            data = data[:start] + draw.randbytes(max(1, end - start)) + data[end:]
        elif kind == 2:
            data = data[:end] + data[start:]
        elif kind == 3:
            data = data[:start] or b"\r\n"
        else:
            data = data[:start] + draw.choice(TOKENS) + data[end:]
    return data


def pieces(draw: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted({0, len(data), *(draw.randrange(len(data) + 1) for _ in range(draw.choice((0, 0, 1, 3, 12))))})
    return [data[start:end] for start, end in pairwise(cuts)]


async def quiet_s(port: int, key: str) -> float:
    """So long nothing comes, where nothing will: twice what all at once take on this machine now."""
    began = time.monotonic()
    assert (await say(port, post(CHAT, BODIES[0], b"authorization: Bearer " + key.encode()))).status == 200
    return max(QUIET_S, 2 * AT_ONCE * (time.monotonic() - began))


async def attack(port: int, key: str, seed: int, quiet_s: float) -> list[Said]:
    """One connection: one to three requests, the last of them broken. What was answered."""
    draw = random.Random(seed)
    whole = [sound(draw, key) for _ in range(draw.choice((0, 0, 0, 1, 2)))]
    data = b"".join((*whole, broken(draw, sound(draw, key))))
    async with connected(port) as (answers, writer):
        for piece in pieces(draw, data):
            writer.write(piece)
            await asyncio.sleep(0)
        if draw.random() < 0.2:
            with suppress(OSError):  # it may have ended it already
                writer.write_eof()
        said: list[Said] = []
        while (answer := await answers.next(quiet_s)).complete:
            said.append(answer)
        return said


async def attack_all(port: int, key: str, seeds: range) -> set[int]:
    """Every seed; the statuses that were seen. AssertionError names the seed whose answer is none.

    What is still a request reaches the teacher, whose 4xx is handed on in its own words.
    """
    waiting, seen, quiet = iter(seeds), set[int](), await quiet_s(port, key)

    async def attacker() -> None:
        for seed in waiting:
            for answer in await attack(port, key, seed, quiet):
                assert answer.status == 100 or 200 <= answer.status < 500, (seed, answer)
                assert answer.status < 400 or "x-tutelage-arm" in answer.headers or answer.error, (seed, answer)
                seen.add(answer.status)

    await asyncio.gather(*(attacker() for _ in range(AT_ONCE)))
    return seen


async def fuzzed(target: Target, seeds: range) -> None:
    before = target.memory_bytes()
    seen = await attack_all(target.port, target.keys.data, seeds)
    assert {200, 400, 401} <= seen, "the attacks reach every layer"
    await target.assert_serves()
    await target.assert_at_base()
    assert target.memory_bytes() - before < 64 * 2**20


async def test_broken_requests_are_refused_or_ended(target: Target):
    await fuzzed(target, SEEDS)


@pytest.mark.nightly
async def test_many_broken_requests_are_refused_or_ended(target: Target):
    await fuzzed(target, NIGHTLY_SEEDS)


async def test_broken_requests_leave_no_task(tmp_path: Path):
    async with (
        model_server("teacher") as teacher,
        model_server("student") as student,
        running(teacher, student, tmp_path) as at,
    ):
        base = len(asyncio.all_tasks())
        await attack_all(at.gateway.port, KEY, range(64))
        await until(lambda: len(asyncio.all_tasks()) <= base)
        assert at.gateway.front.admission.open == 0
        assert [lane.calls for lane in at.gateway._lanes.all()] == [0, 0]
