"""R7: fourteen faults of an upstream, on either arm, streamed or not: a true answer or a clear error, one record, no guess."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.types import Arm
from tests.gateway.harness import rollout, running, until
from tests.gateway.model_server import ModelServer
from tests.gateway.upstreams.certificates import Certificate, made_for
from tests.gateway.upstreams.contract import EVENTS, JSON, completion, event, failure
from tests.gateway.upstreams.server import Exchange, head, scripted
from tests.robustness.conftest import Figure
from tests.robustness.driving import DONE, Answer, ask, asking, client_of, model
from tutelage.contracts.records import Exchange as Record

SHORT_S = 0.4
ERROR = b'data: {"error": {"message": "out of memory", "type": "server_error", "param": null, "code": null}}\n\n'


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def _stall(exchange: Exchange) -> None:
    await _begin(exchange)
    await exchange.until_closed()


async def _reset_inside_an_event(exchange: Exchange) -> None:
    await _begin(exchange, rest=b'data: {"choices": [{"ind')
    exchange.reset()


async def _clean_end_too_early(exchange: Exchange) -> None:
    await _begin(exchange)
    if _streams(exchange):
        await exchange.end_chunked()
    else:
        exchange.close()


async def _malformed(exchange: Exchange) -> None:
    if _streams(exchange):
        await exchange.begin_chunked(EVENTS)
        await exchange.chunk(b"data: {oops\n\n" + DONE)
        await exchange.end_chunked()
    else:
        await exchange.answer(b'{"choices": [', headers=JSON)


async def _error_in_a_200(exchange: Exchange) -> None:
    if _streams(exchange):
        await exchange.begin_chunked(EVENTS)
        await exchange.chunk(ERROR + DONE)
        await exchange.end_chunked()
    else:
        await exchange.answer(failure("out of memory"), headers=JSON)


async def _silent(exchange: Exchange) -> None:
    await exchange.until_closed()


async def _begin(exchange: Exchange, rest: bytes = b"") -> None:
    """The beginning of a good answer."""
    if _streams(exchange):
        await exchange.begin_chunked(EVENTS)
        await exchange.chunk(event("faulty") + rest)
    else:
        whole = completion("faulty")
        await exchange.send(head(200, JSON + b"content-length: %d\r\n" % len(whole)) + whole[:40])


def _streams(exchange: Exchange) -> bool:
    return bool(json.loads(exchange.body).get("stream"))


def _status(code: int) -> Any:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(failure("no"), status=code, headers=JSON)

    return script


SCRIPTED = {
    "429": (_status(429), "status_429"),
    "500": (_status(500), "status_500"),
    "503": (_status(503), "status_503"),
    "529": (_status(529), "status_529"),
    "slow first token": (_silent, "timeout_first_token"),
    "stall": (_stall, "timeout_idle"),
    "reset mid-event": (_reset_inside_an_event, "broken"),
    "clean end too early": (_clean_end_too_early, "truncated"),
    "malformed": (_malformed, "malformed"),
    "200 with error": (_error_in_a_200, "error_event"),
}
UNREACHABLE = {"refuse": "connect", "DNS": "connect", "connect hang": "timeout_connect", "TLS": "connect"}
FAULTS = (*UNREACHABLE, *SCRIPTED)
AFTER_THE_FIRST_BYTE = ("stall", "reset mid-event", "clean end too early")
"""In a stream; of a plain answer nothing is sent before it is whole."""
OTHER_CAUSES = {("clean end too early", False): "broken"}


@dataclass(frozen=True)
class Case:
    fault: str
    arm: Arm
    stream: bool

    @property
    def route(self) -> str:
        return f"{self.arm}-{FAULTS.index(self.fault)}"

    @property
    def cause(self) -> str:
        usual = UNREACHABLE.get(self.fault) or SCRIPTED[self.fault][1]
        return OTHER_CAUSES.get((self.fault, self.stream), usual)

    @property
    def begins(self) -> bool:
        """The client gets a part of the answer before the fault shows."""
        return self.stream and self.fault in AFTER_THE_FIRST_BYTE


CASES = [Case(fault, arm, stream) for fault in FAULTS for arm in Arm for stream in (False, True)]


@contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener whose queue is full: connects to it hang."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for each in waiting:
                each.close()


@asynccontextmanager
async def faulty_urls(certificate: Certificate) -> AsyncIterator[dict[str, str]]:
    """Where each fault lives."""

    async def script(exchange: Exchange) -> None:
        await SCRIPTED[json.loads(exchange.body)["user"]][0](exchange)

    with full_listener() as full, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with scripted(script) as server, scripted(script, tls=certificate.server()) as untrusted:
            yield {
                "refuse": f"http://127.0.0.1:{closed.getsockname()[1]}/v1",
                "DNS": "http://nobody.invalid/v1",
                "connect hang": f"http://127.0.0.1:{full}/v1",
                "TLS": untrusted.url,
                **dict.fromkeys(SCRIPTED, server.url),
            }


def deadlines(fault: str) -> dict[str, str]:
    """Short where it is the deadline that ends the call: all faults come at once, and a busy machine is slow to tell others."""
    cause = UNREACHABLE.get(fault) or SCRIPTED[fault][1]
    which = cause.removeprefix("timeout_")
    return {which: f"{SHORT_S}s"} if which != cause else {"connect": "20s"}


def routes_over(urls: dict[str, str], content: dict[str, Any]) -> None:
    """For each fault an upstream of its own and two routes, one with it as teacher and one as student."""
    capture = {"content": "full", "purpose": "tests"}
    for number, fault in enumerate(FAULTS):
        name = f"faulty-{number}"
        content["upstreams"][name] = {
            "kind": "openai",
            "base_url": urls[fault],
            "model": "m",
            "deadlines": deadlines(fault),
        }
        split = {"teacher": "big", "student": name, "share": "100%", "capture": capture}
        content["routes"][f"student-{number}"] = split
        content["routes"][f"teacher-{number}"] = {"teacher": name, "capture": capture}


async def test_every_fault_ends_in_a_true_answer_or_a_clear_error(tmp_path: Path, figure: Figure):
    certificate = made_for("IP:127.0.0.1", tmp_path)
    async with faulty_urls(certificate) as urls, scripted(model("teacher")) as good:
        teacher = ModelServer(name="teacher", script=lambda _: pytest.fail("not asked"), url=good.url)
        async with running(teacher, teacher, tmp_path, change=lambda content: routes_over(urls, content)) as at:
            rollouts = {
                f"student-{n}": rollout(10_000, route=f"student-{n}", student=f"faulty-{n}@unversioned")
                for n in range(len(FAULTS))
            }
            await at.publish(rollouts=rollouts)
            pool = client_of(at.url)

            async def one(case: Case) -> Answer:
                headers = [(b"x-tutelage-session", repr(case).encode())]
                return await ask(pool, asking(case.route, user=case.fault, stream=case.stream, headers=headers))

            async with asyncio.timeout(60):
                answers = dict(zip(CASES, await asyncio.gather(*map(one, CASES)), strict=True))
            await until(lambda: len(at.exchanges()) == len(CASES))
            metrics = at.gateway.front.metrics.text().decode()
            records = {(record.route, record.stream): record for record in at.exchanges()}
            assert at.gateway.front.admission.open == 0
            assert {lane.calls for lane in at.gateway._lanes.all()} == {0}
            await pool.aclose()
    hung = [case for case, answer in answers.items() if answer.status == 0]
    mixed = [case for case, answer in answers.items() if b"teacher" in answer.body and b"faulty" in answer.body]
    client_errors = [
        case for case, answer in answers.items()
        if case.arm is Arm.STUDENT and not case.begins and (answer.status != 200 or answer.fault)
    ]  # fmt: skip
    figure("R7", f"{len(CASES)} cases: hung / mixed arms / unhandled / student faults shown to clients", "0 / 0 / 0 / 0",
           f"{len(hung)} / {len(mixed)} / {metrics.count('internal_error')} / {len(client_errors)}")  # fmt: skip
    assert (hung, mixed, client_errors) == ([], [], [])
    assert "internal_error" not in metrics
    for case, answer in answers.items():
        _is_told_truly(case, answer)
        _is_recorded_once(case, records[case.route, case.stream])


def _is_told_truly(case: Case, answer: Answer) -> None:
    if case.begins:
        assert answer.status == 200
        last = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])
        assert last["error"]["code"] == f"upstream_{case.cause}", case
        assert b"[DONE]" not in answer.body
    elif case.arm is Arm.STUDENT:
        assert (answer.status, answer.arm, answer.fault) == (200, "teacher", None), case
        assert b"teacher" in answer.body
    elif case.fault in ("malformed", "200 with error"):
        assert answer.status == 200, "the last arm's own words pass"
    else:
        assert answer.status >= 429, case
        assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}


def _is_recorded_once(case: Case, record: Record) -> None:
    failed = [attempt for attempt in record.attempts if attempt.arm == str(case.arm)]
    assert {attempt.error for attempt in failed} == {case.cause}, case
    assert failed[0].purpose == "serve"
    assert {attempt.purpose for attempt in failed[1:]} <= {"retry"}
    if case.begins:
        assert (record.outcome, record.cause, record.truncated) == ("truncated", case.cause, True)
    elif case.arm is Arm.STUDENT:
        assert (record.outcome, record.served_arm) == ("ok", "teacher")
        assert record.attempts[-1].purpose == "fallback"
    else:
        outcome = "truncated" if case.stream and case.fault == "200 with error" else "upstream_error"
        assert (record.outcome, record.cause) == (outcome, case.cause), case
