"""Chat completions end to end, with OpenAI's own client. Bad input is `tests/hostile`'s."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.harness import INTERNAL, PINNER, PRIVATE, rollout, running, until
from tests.gateway.model_server import (
    DONE,
    Asked,
    ModelServer,
    completion,
    delta,
    failing,
    plain,
    streamed,
)

ASK: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


async def test_a_plain_answer_comes_from_the_teacher(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        answer = await at.openai().chat.completions.with_raw_response.create(**ASK)
        assert answer.headers["x-tutelage-arm"] == "teacher"
        assert float(answer.headers["x-tutelage-overhead-ms"]) >= 0
        assert answer.parse().choices[0].message.content == "I am teacher"
        exchange = await at.exchange()
    assert answer.headers["x-tutelage-request-id"] == exchange.id
    assert (exchange.outcome, exchange.served_arm, exchange.route) == ("ok", "teacher", "chat")
    assert teacher.asked[0].json["model"] == "big-1"


async def test_a_stream_comes_word_by_word_and_its_usage_is_counted_unseen(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        stream = await at.openai().chat.completions.create(**ASK, stream=True)
        chunks = [chunk async for chunk in stream]
        exchange = await at.exchange()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "I am student "
    assert all(chunk.usage is None for chunk in chunks)
    assert student.asked[0].json["stream_options"] == {"include_usage": True}
    assert exchange.attempts[0].usage is not None
    assert exchange.attempts[0].usage.completion == 3


async def test_usage_that_the_client_asked_for_stays(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        stream = await at.openai().chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


async def test_if_asked_leaves_the_bytes_alone(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    sent = b": hi\r\n\r\n" + delta("a") + b'event: x\rdata: {"usage": null}\r\r' + DONE + b"data: late"

    async def script(asked: Asked) -> Any:
        return await streamed(asked, *(sent[at : at + 7] for at in range(0, len(sent), 7)))

    teacher.script = script
    async with running(teacher, student, tmp_path, usage="if_asked") as at:
        answer = await at.http().post(PATH, json={**ASK, "stream": True})
    assert answer.content == sent
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert "stream_options" not in teacher.asked[0].json


async def test_request_and_answer_keep_their_bytes(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    body = completion("\u2028 \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")).replace(
        b'"stop"', b'"stop" '
    )
    teacher.script = lambda asked: _plain(body)
    asked = (
        b'{"seed":9007199254740993,"model":"gpt-4o","messages":[{"role":"user","content":"\\ud800 \\u00e9"}],"t":1.50}'
    )
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, content=asked, headers={"content-type": "application/json"})
    assert answer.content == body
    assert teacher.asked[0].body == asked.replace(b'"gpt-4o"', b'"big-1"')


async def _plain(body: bytes) -> Any:
    return plain(body, set_cookie="a=b", server="x", x_ratelimit_remaining="7", openai_version="1", cf_ray="1")


async def test_headers_are_filtered_both_ways(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = lambda asked: _plain(completion("x"))
    sent = {
        "x-tutelage-session": "s",
        "cookie": "c=1",
        "x-forwarded-for": "1.2.3.4",
        "x-api-key": "k",
        "openai-beta": "b",
    }
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json=ASK, headers={**sent, "x-request-id": "mine-1"})
    assert (answer.headers["x-ratelimit-remaining"], answer.headers["openai-version"]) == ("7", "1")
    assert not {"set-cookie", "cf-ray", "server"} & set(answer.headers)
    arrived = teacher.asked[0].headers
    assert not {"authorization", "cookie", "x-forwarded-for", "x-api-key", "x-tutelage-session"} & set(arrived)
    assert (arrived["openai-beta"], arrived["x-request-id"]) == ("b", "mine-1")
    assert arrived["accept-encoding"] == "identity"


async def test_tools_and_structured_output_reach_a_student_that_can(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}

    async def script(asked: Asked) -> Any:
        body = asked.json
        return plain(completion(None, tool_calls=[call]) if "tools" in body else completion('{"city":"Bern"}'))  # type: ignore[arg-type]

    student.script = script
    tool: Any = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
    schema: Any = {"type": "json_schema", "json_schema": {"name": "c", "schema": {"type": "object"}}}
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        client = at.openai()
        called = await client.chat.completions.create(**ASK, tools=[tool])
        structured = await client.chat.completions.create(**ASK, response_format=schema)
    assert called.choices[0].message.tool_calls is not None
    assert called.choices[0].message.tool_calls[0].id == "call_1"
    assert json.loads(structured.choices[0].message.content or "") == {"city": "Bern"}
    assert teacher.asked == []


async def test_what_the_student_cannot_do_goes_to_the_teacher(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        answer = await at.openai().chat.completions.with_raw_response.create(**{**ASK, "messages": [image]})
        exchange = await at.exchange()
    assert answer.headers["x-tutelage-arm"] == "teacher"
    assert exchange.plan.reasons == ("vision",)


async def test_a_blind_route_does_not_tell_its_arm(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, blind=True) as at:
        answer = await at.http().post(PATH, json=ASK)
    assert "x-tutelage-arm" not in answer.headers
    assert "x-tutelage-request-id" in answer.headers


async def test_a_pinned_request_gets_its_arms_own_error(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    student.script = failing(503, retry_after="7")
    async with running(teacher, student, tmp_path) as at:
        pinned = {"x-tutelage-arm": "student"}
        refused = await at.http().post(PATH, json=ASK, headers=pinned)
        answer = await at.http(PINNER).post(PATH, json=ASK, headers=pinned)
        odd = await at.http(PINNER).post(PATH, json=ASK, headers={"x-tutelage-arm": "both"})
        alone = await at.http(PINNER).post(PATH, json={**ASK, "model": "solo"}, headers=pinned)
    assert (refused.status_code, odd.status_code, alone.status_code) == (403, 400, 400)
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-tutelage-arm"]) == (
        503,
        "7",
        "student",
    )
    assert teacher.asked == []


async def test_the_strictest_capture_policy_wins(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        await at.http().post(PATH, json={**ASK, "user": "1"}, headers={"x-tutelage-log": "metadata"})
        await at.http().post(PATH, json={**ASK, "user": "2"}, headers={"x-tutelage-train": "deny"})
        await at.http().post(PATH, json={**ASK, "user": "3"}, headers={"x-tutelage-log": "off"})
        await at.http(PRIVATE).post(PATH, json={**ASK, "user": "4"}, headers={"x-tutelage-log": "full"})
        odd = await at.http().post(PATH, json=ASK, headers={"x-tutelage-log": "some"})
        twice = [("x-tutelage-log", "full"), ("x-tutelage-log", "off")]
        await at.http().post(PATH, json={**ASK, "user": "5"}, headers=twice)
        await at.http().post(PATH, json={**ASK, "user": "6"}, headers={"x-tutelage-log": "full, off"})
        await until(lambda: len(at.exchanges()) == 2)
        kept = [(exchange.policy.log, exchange.policy.train) for exchange in at.exchanges()]
        counts = (await at.http(None).get(f"http://127.0.0.1:{at.gateway.own_port}/metrics")).text
    assert kept == [("metadata", True), ("full", False)]
    assert odd.status_code == 400
    assert 'tutelage_gateway_capture_dropped_total{reason="opted_out"} 4.0' in counts


async def test_slices_come_by_header(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, slices={"routing": ["header:x-tutelage-slice"]}) as at:
        await at.http().post(PATH, json=ASK, headers={"x-tutelage-slice": "gold" * 40})
        exchange = await at.exchange()
    assert exchange.slices == {"slice": "gold" * 16}


async def test_a_session_stays_on_one_arm(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, share_bp=5_000) as at:
        client = at.http()

        async def arm(session: int, turn: int) -> str:
            body = {**ASK, "messages": [{"role": "user", "content": f"turn {turn}"}]}
            answer = await client.post(PATH, json=body, headers={"x-tutelage-session": str(session)})
            return answer.headers["x-tutelage-arm"]

        arms = await asyncio.gather(*(arm(session, turn) for session in range(12) for turn in range(4)))
    by_session = [set(arms[at : at + 4]) for at in range(0, 48, 4)]
    assert all(len(seen) == 1 for seen in by_session)
    assert set(arms) == {"teacher", "student"}


# --- names ------------------------------------------------------------------------------------------------------------


async def test_models_lists_routes_and_finds_names_with_slashes(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path, match=["org/model:1", "gpt-4*"]) as at:
        client = at.openai()
        assert [model.id async for model in client.models.list()] == ["chat", "solo"]
        assert (await client.models.retrieve("org/model:1")).id == "org/model:1"
        assert (await at.http().get("/v1/models/org/model:1")).json()["id"] == "org/model:1"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("judge:big")
        assert (await at.http(None).get("/v1/models")).status_code == 401
        assert (await at.http(None).get("/v1/models/chat")).status_code == 401


async def test_a_judge_route_is_there_for_internal_keys_only(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    judged = {**ASK, "model": "judge:big"}
    async with running(teacher, student, tmp_path) as at:
        refused = await at.http().post(PATH, json=judged)
        answer = await at.http(INTERNAL).post(PATH, json=judged)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert answer.json()["choices"][0]["message"]["content"] == "I am teacher"
    assert at.records() == []


async def test_the_default_upstream_takes_the_rest_under_the_clients_name(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def change(content: dict[str, Any]) -> None:
        content["default_upstream"] = "small"

    async with running(teacher, student, tmp_path, change=change) as at:
        answer = await at.http().post(PATH, json={**ASK, "model": "another"})
    assert answer.status_code == 200
    assert student.asked[0].json["model"] == "another"
    assert at.records() == []


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_body_beyond_the_bound_is_refused_with_and_without_a_length(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def change(content: dict[str, Any]) -> None:
        content["limits"] = {"request_mb": 0.01}

    async def pieces() -> Any:
        for _ in range(40):
            yield b"x" * 1000

    async with running(teacher, student, tmp_path, change=change) as at:
        kind = {"content-type": "application/json"}
        known = await at.http().post(PATH, content=b"x" * 20_000, headers=kind)
        unknown = await at.http().post(PATH, content=pieces(), headers=kind)
        unauthorized = await at.http(None).post(PATH, content=b"x" * 1_000_000, headers=kind)
    assert (known.status_code, unknown.status_code, unauthorized.status_code) == (413, 413, 401)
    assert known.json()["error"]["code"] == "request_too_large"


async def test_beyond_the_bound_of_open_requests_it_refuses_at_once(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    release = asyncio.Event()

    async def script(asked: Asked) -> Any:
        await release.wait()
        return plain(completion("late"))

    def change(content: dict[str, Any]) -> None:
        content["limits"] = {"streams": 2}

    teacher.script = script
    async with running(teacher, student, tmp_path, change=change) as at:
        client = at.http()
        waiting = [asyncio.ensure_future(client.post(PATH, json=ASK)) for _ in range(2)]
        await until(lambda: len(teacher.asked) == 2)
        refused = await client.post(PATH, json=ASK)
        release.set()
        assert [(await answer).status_code for answer in waiting] == [200, 200]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_a_defect_tells_nothing(teacher: ModelServer, student: ModelServer, tmp_path: Path, monkeypatch):
    async with running(teacher, student, tmp_path) as at:
        monkeypatch.setattr("gateway.front.needs_of", lambda *_: 1 / 0)
        answer = await at.http().post(PATH, json=ASK)
        monkeypatch.undo()
        fine = await at.http().post(PATH, json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "division" not in answer.text
    assert fine.status_code == 200


async def test_a_slice_that_climbs_apart_is_split_by_its_own_rollout(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    carve_outs = {"slice": "slice", "weights": {"gold": 0.5}}
    settings: dict[str, Any] = {
        "slices": {"routing": ["header:x-tutelage-slice"]},
        "share": None,
        "rollout": {"mode": "observe", "gates": {"carve_outs": carve_outs}},
    }
    async with running(teacher, student, tmp_path, **settings) as at:
        await at.publish(rollouts={"chat": rollout(0), "chat:gold": rollout(10_000, epoch="gold's", revision=5)})
        for value in ("gold", "other"):
            reply = await at.http().post(PATH, json={**ASK, "user": value}, headers={"x-tutelage-slice": value})
            assert reply.status_code == 200
        await until(lambda: len(at.exchanges()) == 2)
        kept = [(row.route, row.slices, row.served_arm, row.epoch, row.revision) for row in at.exchanges()]
    assert kept == [
        ("chat:gold", {"slice": "gold"}, "student", "gold's", 5),
        ("chat", {"slice": "other"}, "teacher", "e1", 1),
    ]
