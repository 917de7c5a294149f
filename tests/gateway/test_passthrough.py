"""What is not the gateway's own: relayed to `default_upstream` as it is, or refused clearly where there is none."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from tests.gateway.harness import OWN_ONLY, PATIENCE_S, PINNER, running, until
from tests.gateway.model_server import Asked, ModelServer, breaking, delta, plain
from tests.gateway.upstreams.server import Exchange, scripted


def default(content: dict[str, Any]) -> None:
    content["default_upstream"] = "big"


async def _echo(asked: Asked) -> web.StreamResponse:
    headers = {
        "openai-version": "1",
        "set-cookie": "a=b",
        "content-type": "audio/mpeg",
        "x-method": asked.request.method,
    }
    return web.Response(body=b"\x00\xff" + asked.body, headers=headers)


async def test_any_method_and_body_arrive_as_sent_and_so_does_the_answer(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = _echo
    async with running(teacher, student, tmp_path, change=default) as at:
        client = at.http()
        kind = {"content-type": "application/octet-stream", "x-tutelage-session": "s", "cookie": "c"}
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            body = b"" if method == "GET" else b"\x00not json\xff"
            answer = await client.request(method, "/v1/files/a%2Fb%20c/x?limit=2&q=%C3%A9", content=body, headers=kind)
            assert answer.status_code == 200, answer.text
            assert answer.content == b"\x00\xff" + body
            assert (answer.headers["x-method"], answer.headers["content-type"]) == (method, "audio/mpeg")
            assert "set-cookie" not in answer.headers
        counts = (await at.http(None).get(f"http://127.0.0.1:{at.gateway.own_port}/metrics")).text
        assert at.records() == []
    assert {asked.request.raw_path for asked in teacher.asked} == {"/v1/files/a%2Fb%20c/x?limit=2&q=%C3%A9"}
    assert {asked.headers["content-type"] for asked in teacher.asked} == {"application/octet-stream"}
    assert not any({"authorization", "cookie", "x-tutelage-session"} & set(asked.headers) for asked in teacher.asked)
    assert 'tutelage_gateway_requests_total{arm="teacher",route="passthrough",status="2xx"} 5.0' in counts


async def test_openais_client_uploads_a_file_and_moderates(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    file = {"id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "a.jsonl", "purpose": "batch"}
    moderation = {"id": "modr-1", "model": "m", "results": []}

    async def script(asked: Asked) -> web.StreamResponse:
        return web.json_response(file if asked.request.path == "/v1/files" else moderation)

    teacher.script = script
    async with running(teacher, student, tmp_path, change=default) as at:
        client = at.openai()
        uploaded = await client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
        moderated = await client.moderations.create(input="fine")
    assert (uploaded.id, moderated.id) == ("file-1", "modr-1")
    assert teacher.asked[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'filename="a.jsonl"' in teacher.asked[0].body


async def test_a_stored_response_is_fetched_where_what_names_no_model_goes(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = lambda asked: _json(b'{"id":"resp_1","object":"response.deleted","deleted":true}')
    async with running(teacher, student, tmp_path, share_bp=10_000, change=default) as at:
        await at.openai().responses.delete("resp_1")
        listed = await at.http().get("/v1/chat/completions?limit=1")
    assert listed.status_code == 200
    assert [(asked.request.method, asked.request.path) for asked in teacher.asked] == [
        ("DELETE", "/v1/responses/resp_1"),
        ("GET", "/v1/chat/completions"),
    ]
    assert student.asked == []


async def _json(body: bytes, status: int = 200, **headers: str) -> web.Response:
    return plain(body, status, **headers)


async def test_without_a_default_upstream_it_is_refused_and_says_why(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        elsewhere = await at.http().post("/v1/files", content=b"x")
        ours = await at.http().get("/v1/chat/completions")
        models = await at.http().delete("/v1/models/chat")
        nobody = await at.http(None).post("/v1/files", content=b"x")
    assert (elsewhere.status_code, ours.status_code, models.status_code, nobody.status_code) == (404, 405, 405, 401)
    assert "default_upstream" in elsewhere.json()["error"]["message"]
    assert (ours.headers["allow"], models.headers["allow"]) == ("POST", "GET")
    assert teacher.asked == []


async def test_a_websocket_is_refused_by_name(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    upgrade = {"connection": "Upgrade", "upgrade": "WebSocket", "sec-websocket-key": "x", "sec-websocket-version": "13"}
    async with running(teacher, student, tmp_path, change=default) as at:
        answer = await at.http().get("/v1/realtime?model=gpt-realtime", headers=upgrade)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "websocket_not_supported")
    assert teacher.asked == []


async def test_models_answer_head_as_get_without_a_body(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, change=default) as at:
        got, head = await at.http().get("/v1/models"), await at.http().head("/v1/models")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(got.content)), b"")


async def test_a_model_that_only_the_default_upstream_has_is_asked_for_there(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = lambda asked: _json(b'{"id":"o9","object":"model","created":1,"owned_by":"system"}')
    async with running(teacher, student, tmp_path, change=default) as at:
        client = at.openai()
        assert (await client.models.retrieve("chat")).owned_by == "tutelage"
        assert (await client.models.retrieve("o9")).owned_by == "system"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("judge:big")
    assert [asked.request.path for asked in teacher.asked] == ["/v1/models/o9"]


async def test_an_absolute_target_is_passed_on_as_a_path(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = lambda asked: _json(b"{}")
    async with running(teacher, student, tmp_path, change=default) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.gateway.port)
        head = "host: h\r\nauthorization: Bearer tut-data\r\nconnection: close\r\n\r\n"
        writer.write(f"GET http://h:80/v1/files/a%20b?limit=2 HTTP/1.1\r\n{head}".encode())
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200")
    assert [asked.request.raw_path for asked in teacher.asked] == ["/v1/files/a%20b?limit=2"]


@pytest.mark.parametrize(
    "path",
    [
        "http://h/v1/../metrics",
        "/v1/../metrics",
        "/v1/%2e%2e/metrics",
        "/v1/files/..%2f..%2fx",
        "/v1/%252e%252e/x",
        "/v1/..%5cx",
        "/v1/..;a=b/x",
        "/%761/x",
    ],
)
async def test_no_path_leads_out_of_the_upstreams_base(
    path: str, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, change=default) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.gateway.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tut-data\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert line.split()[1] == b"404"
    assert teacher.asked == []


async def test_its_errors_pass_unchanged_and_nothing_is_sent_twice(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    body = b'{"error":{"message":"m","type":"t","param":null,"code":"c"}}'
    teacher.script = lambda asked: _json(body, 503, retry_after="0")
    async with running(teacher, student, tmp_path, change=default) as at:
        answer = await at.http().post("/v1/batches", json={"x": 1})
        teacher.script = lambda asked: _json(b"", 307, location="http://elsewhere/")
        moved = await at.http().get("/v1/batches")
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (503, body, "0")
    assert (moved.status_code, moved.json()["error"]["code"]) == (502, "upstream_status_307")
    assert "location" not in moved.headers
    assert len(teacher.asked) == 2


async def test_what_has_not_changed_is_no_fault(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = lambda asked: _json(b"", 304, etag='"v1"')
    async with running(teacher, student, tmp_path, change=default) as at:
        answer = await at.http().get("/v1/files/f/content", headers={"if-none-match": '"v1"'})
        odd = await at.http().post("/v1/chat/completions", json={"model": "solo", "messages": []})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"v1"')
    assert teacher.asked[0].headers["if-none-match"] == '"v1"'
    assert odd.status_code == 502


async def test_what_is_passed_through_has_one_arm(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, change=default) as at:
        client = at.http(PINNER)
        refused = await client.get("/v1/files", headers={"x-tutelage-arm": "student"})
        taken = await client.post("/v1/files", json={"x": 1}, headers={"x-tutelage-arm": "teacher"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_student")
    assert "passed through" in refused.json()["error"]["message"]
    assert taken.status_code == 200


@pytest.mark.parametrize(
    ("method", "headers", "times"),
    [("POST", {}, 1), ("POST", {"idempotency-key": "k"}, 2), ("GET", {}, 2), ("DELETE", {}, 2)],
)
async def test_what_must_not_be_done_twice_is_not_sent_twice(
    student: ModelServer, tmp_path: Path, method: str, headers: dict[str, str], times: int
):
    """The upstream ends a kept connection in place of an answer: it may have read the request, or not."""

    async def script(exchange: Exchange) -> None:
        if exchange.on_connection:
            exchange.close()
        else:
            await exchange.answer(b"{}")

    async with scripted(script) as server:
        kept = ModelServer(name="raw", script=_echo, url=server.url)
        async with running(kept, student, tmp_path, change=default) as at:
            assert (await at.http().get("/v1/batches")).status_code == 200
            answer = await at.http().request(method, "/v1/batches", headers=headers)
        assert len(server.requests) == 1 + times
        assert answer.status_code == (200 if times > 1 else 502)


async def test_a_stream_passes_and_one_that_breaks_off_says_so(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = breaking(delta("a"), b"data: not json\n\n")
    async with running(teacher, student, tmp_path, change=default) as at:
        answer = await at.http().post("/v1/audio/transcriptions", content=b"x", headers={"content-type": "audio/wav"})
    assert answer.content.startswith(delta("a") + b"data: not json\n\n" + b'data: {"error":')
    assert answer.headers["x-accel-buffering"] == "no"


async def test_speech_is_heard_while_it_is_made(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    """A stream that is no server-sent events; the second piece is made only when the first has arrived."""
    arrived = asyncio.Event()

    async def script(asked: Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "audio/mpeg"})
        response.enable_chunked_encoding()
        await response.prepare(asked.request)
        await response.write(b"one")
        await asyncio.wait_for(arrived.wait(), PATIENCE_S)
        await response.write(b"two")
        await response.write_eof()
        return response

    teacher.script = script
    async with (
        running(teacher, student, tmp_path, change=default) as at,
        at.http().stream("POST", "/v1/audio/speech", json={"input": "hi"}) as answer,
    ):
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"one"
        arrived.set()
        assert b"".join([piece async for piece in pieces]) == b"two"


async def test_a_long_body_passes_whole(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    body = bytes(range(256)) * 20_000
    teacher.script = lambda asked: _json(body)
    async with running(teacher, student, tmp_path, change=default) as at:
        answer = await at.http().get("/v1/files/1/content")
    assert answer.content == body


async def test_an_upstream_that_translates_says_that_it_cannot(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def change(content: dict[str, Any]) -> None:
        content["upstreams"]["claude"] = {"kind": "litellm", "model": "anthropic/claude"}
        content["default_upstream"] = "claude"

    async with running(teacher, student, tmp_path, change=change) as at:
        answer = await at.http().get("/v1/files")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert "GET /files" in answer.json()["error"]["message"]


async def test_a_client_that_leaves_closes_its_call(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async def script(asked: Asked) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    teacher.script = script
    async with running(teacher, student, tmp_path, change=default) as at:
        call = asyncio.ensure_future(at.http().get("/v1/files/1/content"))
        await until(lambda: len(teacher.asked) == 1)
        call.cancel()
        await asyncio.wait_for(teacher.asked[0].gone.wait(), PATIENCE_S)


async def test_a_key_without_pass_through_reaches_the_gateways_own_endpoints_only(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, change=default) as at:
        client = at.http(OWN_ONLY)
        refused = [
            await client.get("/v1/files"),
            await client.delete("/v1/files/file-1"),
            await client.get("/v1/responses/resp_1"),
            await client.post("/v1/chat/completions/", json={"model": "chat"}),
        ]
        assert (await client.get("/v1/models")).status_code == 200
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refused] == [(403, "forbidden")] * 4
    assert teacher.asked == []
