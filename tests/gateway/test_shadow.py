import asyncio
import itertools

import pytest

from gateway.memory import Memory
from gateway.shadow import ShadowCall, ShadowJob, ShadowPool
from gateway.upstreams.base import Call, ConnectFailed, Deadlines, ReplyBroken, TimedOut
from router.breaker import Permit
from router.types import Arm, Outcome
from tests.tutelage.capture.raws import CHAT, FULL, JSON, chat_body
from tutelage.capture.raw import RawShadow

DEADLINE_S = 10.0


class FakeReply:
    replica = "r"

    def __init__(self, chunks, status=200):
        self.status = status
        self.headers = JSON
        self.closed = 0
        self.generators_closed = 0
        self._chunks = chunks

    async def chunks(self):
        try:
            for chunk in self._chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                if isinstance(chunk, asyncio.Event):
                    await chunk.wait()
                else:
                    yield chunk
        finally:
            self.generators_closed += 1

    async def aclose(self):
        self.closed += 1


class FakeUpstream:
    """Answers with what it was given: a reply, an error, or a reply after an event."""

    name = "student"
    hidden = ()

    def __init__(self, answer, *, after=None):
        self.answer = answer
        self.after = after
        self.calls = []

    async def open(self, call):
        self.calls.append(call)
        if self.after is not None:
            await self.after.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aclose(self):
        return None


class Records:
    def __init__(self):
        self.offered: list[RawShadow] = []
        self._arrived: asyncio.Queue[RawShadow] = asyncio.Queue()

    def offer(self, raw, /):
        self.offered.append(raw)
        self._arrived.put_nowait(raw)

    async def arrived(self, count):
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(count):
                await self._arrived.get()


class Rig:
    """A pool, what it offered, and what its breaker was told."""

    def __init__(self, *, limit=2, answer_bytes=10_000, memory_bytes=1_000_000):
        numbers = itertools.count()
        clock = itertools.count()
        self.records = Records()
        self.lets_through = True
        self.settled: list[Outcome] = []
        self.memory = Memory(memory_bytes)
        self.pool = ShadowPool(
            limit=limit,
            spool=self.records,
            answer_bytes=answer_bytes,
            memory=self.memory,
            utc=lambda: 1_000.0,
            monotonic=lambda: float(next(clock)),
            new_id=lambda: f"shadow-{next(numbers)}",
        )

    def admit(self, now):
        return Permit(0) if self.lets_through else None

    def settle(self, permit, outcome, now):
        assert permit == Permit(0)
        self.settled.append(outcome)

    def call(self, upstream, *, purpose="shadow"):
        return ShadowCall(
            arm=Arm.STUDENT, upstream=upstream, version="v7", purpose=purpose, gate=self,
            call=Call(method="POST", path="/chat/completions", headers=(), body=CHAT, deadlines=Deadlines()),
        )  # fmt: skip

    def job(self, *calls):
        return ShadowJob(
            exchange_id="e", route="chat", endpoint="chat.completions", stream=False, policy=FULL, calls=tuple(calls)
        )

    async def run(self, *calls):
        """Start one job in a slot and wait for its records: exactly one per call."""
        slot = self.pool.reserve()
        assert slot is not None
        slot.start(self.job(*calls))
        await self.records.arrived(len(calls))
        assert len(self.records.offered) == len(calls)
        assert (self.pool.taken, self.memory.taken_bytes) == (0, 0)
        return self.records.offered


async def test_an_answer_is_one_record_with_its_bytes():
    rig, reply = Rig(), FakeReply([chat_body()[:10], chat_body()[10:]])
    (raw,) = await rig.run(rig.call(FakeUpstream(reply)))
    assert raw.attempt is not None
    assert b"".join(raw.attempt.chunks) == chat_body()
    assert (raw.lost, raw.exchange_id, raw.body, raw.id) == (None, "e", CHAT, "shadow-0")
    assert (raw.attempt.status, raw.attempt.error, raw.attempt.purpose) == (200, None, "shadow")
    assert raw.attempt.first_token_ms is not None
    assert raw.attempt.total_ms > raw.attempt.first_token_ms > 0
    assert rig.settled == [Outcome.SUCCESS]
    assert (reply.closed, reply.generators_closed) == (1, 1)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, Outcome.IGNORED), (429, Outcome.IGNORED), (500, Outcome.FAILURE), (503, Outcome.FAILURE)],
)
async def test_a_refusal_is_an_attempt_with_its_status(status, outcome):
    rig = Rig()
    (raw,) = await rig.run(rig.call(FakeUpstream(FakeReply([b"{}"], status))))
    assert raw.attempt is not None
    assert (raw.attempt.status, raw.lost) == (status, None)
    assert rig.settled == [outcome]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(ConnectFailed("student", "refused"), "connect"), (TimedOut("student", "first_token", 1), "timeout_first_token")],
)
async def test_an_upstream_that_does_not_answer_is_an_attempt_with_its_error(fault, kind):
    rig = Rig()
    (raw,) = await rig.run(rig.call(FakeUpstream(fault)))
    assert raw.attempt is not None
    assert (raw.attempt.error, raw.attempt.broke, raw.attempt.status) == (kind, False, None)
    assert rig.settled == [Outcome.FAILURE]


async def test_an_answer_that_breaks_off_is_an_attempt_that_broke():
    rig, reply = Rig(), FakeReply([b"half", ReplyBroken("student", "reset")])
    (raw,) = await rig.run(rig.call(FakeUpstream(reply)))
    assert raw.attempt is not None
    assert (raw.attempt.error, raw.attempt.broke, raw.attempt.chunks) == ("broken", True, [b"half"])
    assert rig.settled == [Outcome.FAILURE]
    assert reply.closed == 1


async def test_an_answer_beyond_the_bound_is_closed_and_marked():
    rig, reply = Rig(answer_bytes=10), FakeReply([b"12345", b"678901", b"never read"])
    (raw,) = await rig.run(rig.call(FakeUpstream(reply)))
    assert raw.attempt is not None
    assert (raw.attempt.overflow, raw.attempt.chunks, raw.attempt.error) == (True, [], None)
    assert (reply.closed, reply.generators_closed) == (1, 1)


async def test_an_answer_beyond_the_memory_of_all_is_not_kept_and_what_was_taken_comes_back():
    rig = Rig(memory_bytes=len(CHAT) + 12)
    (raw,) = await rig.run(rig.call(FakeUpstream(FakeReply([b"12345", b"678901234"]))))
    assert raw.attempt is not None
    assert (raw.attempt.overflow, raw.attempt.chunks, rig.memory.taken_bytes) == (True, [], 0)


async def test_an_open_breaker_is_an_attempt_that_was_not_made():
    rig, upstream = Rig(), FakeUpstream(FakeReply([]))
    rig.lets_through = False
    (raw,) = await rig.run(rig.call(upstream))
    assert raw.attempt is not None
    assert (raw.attempt.error, raw.attempt.status) == ("breaker_open", None)
    assert (upstream.calls, rig.settled) == ([], [])


@pytest.mark.filterwarnings("default")
async def test_a_defect_is_still_one_record():
    rig = Rig()
    (raw,) = await rig.run(rig.call(FakeUpstream(ZeroDivisionError("bug"))))
    assert raw.attempt is not None
    assert raw.attempt.error == "internal"
    assert rig.settled == [Outcome.IGNORED]


async def test_both_arms_asked_are_two_records_and_one_slot():
    rig = Rig(limit=1)
    gate = asyncio.Event()
    slot = rig.pool.reserve()
    assert slot is not None
    asked = rig.call(FakeUpstream(FakeReply([b"{}"]), after=gate))
    slot.start(rig.job(rig.call(FakeUpstream(FakeReply([b"{}"])), purpose="rescore"), asked))
    await rig.records.arrived(1)
    assert (rig.pool.taken, rig.pool.reserve()) == (1, None)
    gate.set()
    assert await rig.pool.drain(DEADLINE_S) == 0
    assert [raw.attempt.purpose for raw in rig.records.offered if raw.attempt] == ["rescore", "shadow"]
    assert rig.pool.taken == 0


async def test_a_drain_waits_for_calls_that_end_in_time():
    rig, gate = Rig(), asyncio.Event()
    slot = rig.pool.reserve()
    assert slot is not None
    slot.start(rig.job(rig.call(FakeUpstream(FakeReply([b"{}"]), after=gate))))
    asyncio.get_running_loop().call_soon(gate.set)
    assert await rig.pool.drain(DEADLINE_S) == 0
    assert [raw.lost for raw in rig.records.offered] == [None]


@pytest.mark.parametrize("where", ["before the head", "inside the answer"])
async def test_a_drain_cuts_what_is_left_and_each_is_one_record(where):
    rig, never = Rig(), asyncio.Event()
    reply = FakeReply([b"x", never])
    upstream = FakeUpstream(reply, after=never if where == "before the head" else None)
    slot = rig.pool.reserve()
    assert slot is not None
    slot.start(rig.job(rig.call(upstream), rig.call(upstream)))
    assert await rig.pool.drain(0.01) == 2
    assert [(raw.lost, raw.attempt) for raw in rig.records.offered] == [("shutdown", None)] * 2
    assert rig.settled == [Outcome.IGNORED] * 2
    assert rig.pool.taken == 0
    assert reply.closed == (0 if where == "before the head" else 2)


async def test_a_call_that_is_cut_before_it_ran_is_one_record():
    rig = Rig()
    slot = rig.pool.reserve()
    assert slot is not None
    upstream = FakeUpstream(FakeReply([b"{}"]))
    slot.start(rig.job(rig.call(upstream)))
    await rig.pool.drain(0)
    assert len(rig.records.offered) == 1
    assert rig.pool.taken == 0


async def test_while_draining_nobody_gets_a_slot():
    rig = Rig()
    await rig.pool.drain(0)
    assert rig.pool.reserve() is None


async def test_slots_are_bounded_and_come_back_once():
    rig = Rig(limit=2)
    first, second = rig.pool.reserve(), rig.pool.reserve()
    assert first is not None
    assert second is not None
    assert rig.pool.reserve() is None
    first.release()
    first.release()
    first.start(rig.job(rig.call(FakeUpstream(FakeReply([])))))
    assert (rig.pool.taken, rig.pool.running) == (1, 0)
    second.start(rig.job())
    assert rig.pool.taken == 0
    assert rig.records.offered == []
