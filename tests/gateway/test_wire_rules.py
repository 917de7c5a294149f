"""Rules of a transparent gateway that no other file tests. docs/CONFORMANCE.md names the test of every rule."""

import asyncio
import gzip
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway import errors, wording
from router.types import Sampling
from tests.gateway.harness import PATIENCE_S, running, until
from tests.gateway.model_server import (
    DONE,
    USAGE,
    Asked,
    ModelServer,
    Script,
    begun,
    completion,
    delta,
    event,
    failing,
    plain,
    streamed,
)

PATH = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
EVERYTHING = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)

# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [{}, {"stream": False}, {"stream": None}])
async def test_a_plain_request_gets_no_stream_options(
    stream: dict[str, Any], teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """An upstream answers 400 to them."""
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, **stream})
    assert answer.status_code == 200
    assert teacher.asked[0].json == {**ASK, **stream, "model": "big-1"}


async def test_request_ids_are_fresh_towards_student_and_shadow(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """Two requests of one id have broken vLLM's engine. The teacher, who serves, may see the client's own."""
    headers = {"x-request-id": "mine"}
    async with running(teacher, student, tmp_path, sampling=EVERYTHING) as at:
        client = at.http()
        for _ in range(2):
            await client.post(PATH, json=ASK, headers=headers)
        await until(lambda: len(at.shadows()) == 2)
        await at.share(10_000)
        for _ in range(2):
            await client.post(PATH, json=ASK, headers=headers)
        await until(lambda: len(at.shadows()) == 4)
        await client.post(PATH, json=ASK, headers={"x-request-id": "x" * 129})
    to_student = [asked.headers["x-request-id"] for asked in student.asked]
    to_teacher = [asked.headers["x-request-id"] for asked in teacher.asked]
    assert len({*to_student}) == len(to_student) == 5
    assert "mine" not in to_student
    assert to_teacher[:2] == ["mine", "mine"]
    assert "mine" not in to_teacher[2:]


async def test_a_clients_idempotency_key_is_for_its_own_call(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """Where arms are one provider's, a shadow under the same key would be refused, or answered with the client's answer."""
    async with running(teacher, student, tmp_path, sampling=EVERYTHING) as at:
        await at.http().post(PATH, json=ASK, headers={"idempotency-key": "once"})
        await until(lambda: len(at.shadows()) == 1)
    assert teacher.asked[0].headers["idempotency-key"] == "once"
    assert "idempotency-key" not in student.asked[0].headers


async def test_a_field_that_does_not_travel_is_logged_once(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    with capture_logs() as logged:
        async with running(teacher, student, tmp_path) as at:
            for _ in range(2):
                assert (await at.http().post(PATH, json={**ASK, "top_k": 7})).status_code == 200
    said = [entry for entry in logged if entry.get("field") == "top_k"]
    assert [(entry["upstream"], entry["rule"]) for entry in said] == [("big", "drop")]
    assert "top_k" not in teacher.asked[0].json


UP = {
    "openai-beta": "assistants=v2", "idempotency-key": "i", "anthropic-version": "2023-06-01",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "user-agent": "app/1", "x-stainless-lang": "python",
}  # fmt: skip
NOT_UP = (
    "authorization", "cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-api-key", "api-key",
    "x-tutelage-session", "x-tutelage-slice", "x-tutelage-log", "x-tutelage-train", "te", "proxy-authorization", "x-hop",
    "openai-organization", "openai-project", "x-auth-token", "x-goog-api-key", "x-goog-user-project", "x-amz-security-token",
    "ocp-apim-subscription-key", "via", "x-real-ip", "cf-connecting-ip",
)  # fmt: skip


async def test_headers_up(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    values = {
        "x-tutelage-log": "full",
        "x-tutelage-train": "deny",
        "authorization": "Bearer tut-data",
        "te": "trailers",
    }
    sent = {**UP, **{name: values.get(name, "secret") for name in NOT_UP}, "connection": "keep-alive, X-Hop"}
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json=ASK, headers=sent)
    assert answer.status_code == 200
    arrived = teacher.asked[0].headers
    assert {name: arrived.get(name) for name in UP} == UP
    assert not set(NOT_UP) & set(arrived)
    assert arrived["host"] == teacher.url.removeprefix("http://").removesuffix("/v1")
    assert arrived["accept-encoding"] == "identity"


async def test_whose_account_pays_is_the_clients_to_say_only_where_the_upstream_says_so(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def clients(content: dict[str, Any]) -> None:
        content["upstreams"]["big"]["account"] = "client"

    account = {"openai-organization": "org-1", "openai-project": "proj-1"}
    async with running(teacher, student, tmp_path, change=clients, sampling=EVERYTHING) as at:
        assert (await at.http().post(PATH, json=ASK, headers=account)).status_code == 200
        await until(lambda: bool(student.asked))
    assert account.items() <= teacher.asked[0].headers.items()
    assert not account.keys() & student.asked[0].headers.keys()


async def test_file_ids_stay_with_the_teacher(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    asked = {**ASK, "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}
    async with running(teacher, student, tmp_path, share_bp=10_000, sampling=EVERYTHING) as at:
        answer = await at.http().post(PATH, json=asked)
        exchange = await at.exchange()
    assert answer.headers["x-tutelage-arm"] == "teacher"
    assert (exchange.plan.reasons, exchange.plan.shadow) == (("stateful",), None)
    assert student.asked == []


# --- answers ----------------------------------------------------------------------------------------------------------

ODD = [
    b": a comment\n\n",
    b'event: ping\ndata: {"type":"ping"}\n\n',
    b"id: 7\nretry: 10\n" + delta("a\u2028b\u0085c", obfuscation="xxxx"),
    delta("d", reasoning_content="hm", annotations=[{"a": 1}], logprobs={"content": []}),
    b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}], "n":12345678901234567890}\r\n\r\n',
    delta(None, "stop"),
]


async def test_everything_else_survives_the_counting_of_usage(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """Usage was injected and is taken out; not one other byte differs."""

    async def script(asked: Asked) -> Any:
        return await streamed(asked, *ODD, USAGE, DONE)

    teacher.script = script
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": True})
        exchange = await at.exchange()
    assert teacher.asked[0].json["stream_options"] == {"include_usage": True}
    assert answer.content == b"".join([*ODD, DONE])
    assert exchange.attempts[0].usage is not None


def of_type(kind: str, *pieces: bytes) -> Script:
    """A stream of that content type."""

    async def script(asked: Asked) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": kind})
        await answer.prepare(asked.request)
        for piece in pieces:
            await answer.write(piece)
        return answer

    return script


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/octet-stream"])
@pytest.mark.parametrize("cut", [1, 4, 20])
async def test_a_stream_that_no_type_calls_one_is_known_by_its_bytes(
    kind: str, cut: int, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """As of a server that sets no type: clients read events whatever the type says."""
    whole = delta("a", usage=None) + delta("b", usage=None) + USAGE + DONE

    teacher.script = of_type(kind, whole[:cut], whole[cut:])
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": True})
        exchange = await at.exchange()
    assert answer.content == delta("a") + delta("b") + DONE
    assert (exchange.outcome, exchange.truncated, exchange.attempts[0].usage is None) == ("ok", False, False)


async def test_a_streams_type_is_known_in_any_case_of_letters(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    kind = "Text/Event-Stream; charset=UTF-8"
    teacher.script = of_type(kind, delta("a", usage=None), USAGE, DONE.rstrip(b"\n"))
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": True})
        exchange = await at.exchange()
    assert (answer.content, answer.headers["x-accel-buffering"]) == (delta("a") + DONE.rstrip(b"\n"), "no")
    assert (exchange.outcome, exchange.truncated) == ("ok", False)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_event_is_plain_json_with_its_own_status(
    *, stream: bool, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = failing(422, "no", retry_after_ms="50", retry_after="1", x_request_id="theirs")
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": stream})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert answer.json()["error"]["message"] == "no"
    assert [answer.headers[name] for name in ("retry-after-ms", "retry-after", "x-request-id")] == ["50", "1", "theirs"]


async def test_every_path_refuses_in_the_envelope_and_redirects_nobody(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    asked = [
        ("POST", "/"), ("GET", "/"), ("POST", "/v1"), ("POST", "/v1/"), ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"), ("GET", "/v1/chat/completions"), ("PUT", "/v1/embeddings"), ("POST", "/v1/models"),
        ("GET", "/v1/models/none"), ("GET", "/v1/feedback"), ("POST", "/v1/feedback"), ("GET", "/v1/files"), ("GET", "/v2/x"),
        ("GET", "/docs"), ("GET", "/openapi.json"), ("OPTIONS", "/v1/chat/completions"), ("POST", "/v1/responses"),
        ("POST", "/v1/embeddings"), ("POST", "/v1/completions"),
    ]  # fmt: skip
    async with running(teacher, student, tmp_path) as at:
        client = at.http()
        for method, path in asked:
            answer = await client.request(method, path, content=b"{}", headers={"content-type": "application/json"})
            assert 400 <= answer.status_code < 500, (method, path)
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}, (method, path)
            assert "x-tutelage-request-id" in answer.headers, (method, path)
    assert teacher.asked == []


async def test_no_key_and_no_host_of_an_upstream_is_told(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    host = teacher.url.removeprefix("http://").removesuffix("/v1")
    teacher.script = failing(401, "Incorrect API key provided: sk-secr***t.")
    async with running(teacher, student, tmp_path) as at:
        unauthorized = await at.http().post(PATH, json=ASK)
        teacher.script = failing(400, f"see http://{host}/docs")
        named = await at.http().post(PATH, json=ASK)
    assert (unauthorized.status_code, unauthorized.json()["error"]["code"]) == (401, "upstream_status_401")
    assert "sk-" not in unauthorized.text
    assert named.json()["error"]["message"] == "see http://upstream/docs"


def with_a_key(content: dict[str, Any]) -> None:
    content["upstreams"]["big"]["api_key"] = "${TUTELAGE_TEST_UPSTREAM_KEY}"


@pytest.mark.parametrize("usage", ["inject", "if_asked"])
async def test_an_error_in_a_stream_tells_no_more_than_one_by_itself(
    teacher: ModelServer, student: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usage: str
):
    monkeypatch.setenv("TUTELAGE_TEST_UPSTREAM_KEY", "sk-of-the-upstream")
    host = teacher.url.removeprefix("http://").removesuffix("/v1")

    async def script(asked: Asked) -> web.StreamResponse:
        key = asked.headers["authorization"].removeprefix("Bearer ")
        return await streamed(asked, before + event({"error": {"message": f" {host} {key}", "code": code}}) + DONE)

    teacher.script = script
    async with running(teacher, student, tmp_path, usage=usage, change=with_a_key) as at:
        client = at.http()
        for before, code, told in (
            (b"", "invalid_api_key", wording.REFUSED),
            (b": still here\n\n", "x", " upstream upstream"),
            (delta("a"), "invalid_api_key", wording.REFUSED),
            (delta("a"), "x", " upstream upstream"),
        ):
            answer = await client.post(PATH, json={**ASK, "stream": True})
            assert answer.content.startswith(before + b"data: "), "what came before stays"
            assert answer.content.endswith(b"\n\n" + DONE)
            error = answer.content.removeprefix(before + b"data: ").removesuffix(DONE)
            assert json.loads(error) == {"error": {"message": told, "code": code}}


async def test_an_error_in_a_body_with_status_200_tells_no_more(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    host = teacher.url.removeprefix("http://").removesuffix("/v1")
    said = {"error": {"message": f"no room at {host}", "type": "t", "param": None, "code": "x"}}

    async def script(_: Asked) -> web.StreamResponse:
        return plain(json.dumps(said).encode())

    teacher.script = script
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json=ASK)
    assert answer.json()["error"]["message"] == "no room at upstream"


async def test_a_401_in_another_coding_tells_no_more(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async def script(_: Asked) -> web.StreamResponse:
        body = gzip.compress(b"Incorrect API key provided: sk-secr***t.")
        return web.Response(body=body, status=401, content_type="text/plain", headers={"content-encoding": "gzip"})

    teacher.script = script
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json=ASK)
    assert answer.json()["error"]["code"] == "upstream_status_401"
    assert answer.headers["content-type"] == "application/json"


async def test_a_401_of_the_teachers_is_no_fault_of_the_client_and_the_student_may_take_over(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = failing(401)
    async with running(teacher, student, tmp_path, fallback="both") as at:
        answer = await at.http().post(PATH, json=ASK)
    assert (answer.status_code, answer.headers["x-tutelage-arm"]) == (200, "student")


def refusals(of: type[errors.Refusal] = errors.Refusal) -> list[type[errors.Refusal]]:
    return [of, *(found for kind in of.__subclasses__() for found in refusals(kind))]


def test_no_refusal_has_a_status_that_sdks_retry_blindly():
    assert len(refusals()) > 10
    assert not {refusal.status for refusal in refusals()} & {408, 409}


async def test_a_retried_request_lands_on_the_same_arm(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    """Also where nothing but its own body names it."""
    async with running(teacher, student, tmp_path, share_bp=5_000) as at:
        client = at.http()
        arms: dict[int, set[str]] = {}
        for number in range(8):
            for retry in range(3):
                body = {"model": "chat", "prompt_of_its_own": number, "messages": []}
                answer = await client.post(PATH, json=body, headers={"x-stainless-retry-count": str(retry)})
                arms.setdefault(number, set()).add(answer.headers["x-tutelage-arm"])
    assert all(len(seen) == 1 for seen in arms.values())
    assert set.union(*arms.values()) == {"teacher", "student"}


def connected_sockets() -> Iterator[socket.socket]:
    """Every connected TCP socket of this process, the gateway's among them."""
    for descriptor in range(3, 4_096):
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
            if found.family == socket.AF_INET and found.type == socket.SOCK_STREAM and found.getpeername():
                yield found


async def test_small_events_wait_for_nothing_on_either_side(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        client = at.http()
        await client.post(PATH, json=ASK)  # both connections are kept
        upstream = int(teacher.url.removesuffix("/v1").rpartition(":")[2])
        ours = [
            bool(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            for found in connected_sockets()
            if found.getsockname()[1] == at.gateway.port or found.getpeername()[1] == upstream
        ]
    assert ours == [True, True]


DOWN = {
    "x-request-id": "r", "openai-version": "v", "openai-processing-ms": "5", "openai-organization": "o",
    "x-ratelimit-remaining-tokens": "9", "retry-after": "1", "retry-after-ms": "5", "anthropic-ratelimit-tokens-limit": "3",
}  # fmt: skip
NOT_DOWN = (
    "set-cookie", "alt-svc", "strict-transport-security", "cf-ray", "cf-cache-status", "server", "access-control-allow-origin",
    "x-hop", "keep-alive", "x-tutelage-forged",
)  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_down(*, stream: bool, teacher: ModelServer, student: ModelServer, tmp_path: Path):
    named = {**DOWN, **dict.fromkeys(NOT_DOWN, "x"), "connection": "keep-alive, X-Hop"}

    async def script(asked: Asked) -> Any:
        if not stream:
            return plain(completion("x"), 200, **{name.replace("-", "_"): value for name, value in named.items()})
        response = await begun(asked, **named)
        await response.write(delta("a") + DONE)
        await response.write_eof()
        return response

    teacher.script = script
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": stream})
    assert {name: answer.headers.get(name) for name in DOWN} == DOWN
    assert not set(NOT_DOWN) & set(answer.headers)
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")


async def test_a_stream_leaves_as_it_comes_unbuffered_and_uncompressed(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """The second event is made only when the first has arrived: whoever holds one back waits for ever."""
    arrived = asyncio.Event()

    async def script(asked: Asked) -> Any:
        response = await begun(asked)
        await response.write(delta("first"))
        await asyncio.wait_for(arrived.wait(), PATIENCE_S)
        await response.write(delta("second") + DONE)
        await response.write_eof()
        return response

    teacher.script = script
    async with running(teacher, student, tmp_path) as at:
        sent = {"accept-encoding": "gzip, br"}
        async with at.http().stream("POST", PATH, json={**ASK, "stream": True}, headers=sent) as answer:
            chunks = answer.aiter_raw()
            assert await anext(chunks) == delta("first")
            arrived.set()
            rest = b"".join([chunk async for chunk in chunks])
    assert rest == delta("second") + DONE
    assert "content-encoding" not in answer.headers
    assert "content-length" not in answer.headers
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert json.loads(rest.split(b"\n\n")[0].removeprefix(b"data: "))["choices"][0]["delta"]["content"] == "second"
