"""Completions, embeddings and responses end to end, with OpenAI's own client."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from router.types import Sampling
from tests.gateway.answering import (
    completing,
    embedding,
    responding,
    response,
    response_events,
    typed,
)
from tests.gateway.harness import running, until
from tests.gateway.model_server import Asked, ModelServer, breaking, failing, plain, streamed

CAN: dict[str, Any] = {"endpoints": ["chat.completions", "completions", "embeddings", "responses"], "tools": True}
EVERYTHING = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)


def able(content: dict[str, Any]) -> None:
    """The student declares every endpoint."""
    content["upstreams"]["small"]["can"] = CAN


# --- completions ------------------------------------------------------------------------------------------------------


async def test_completions_plain_and_streamed(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    student.script = completing("so it goes")
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        client = at.openai()
        answer = await client.completions.create(model="gpt-4o", prompt=["a", "b"])
        stream = await client.completions.create(model="gpt-4o", prompt="a", stream=True)
        chunks = [chunk async for chunk in stream]
        await until(lambda: len(at.exchanges()) == 2)
        plainly, streaming = at.exchanges()
    assert [choice.text for choice in answer.choices] == ["so it goes", "so it goes"]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "so it goes "
    assert all(chunk.usage is None for chunk in chunks)
    assert [asked.request.path for asked in student.asked] == ["/v1/completions"] * 2
    assert (plainly.endpoint, plainly.served_arm) == ("completions", "student")
    assert streaming.input_hash is not None
    assert streaming.turn == 1
    for exchange in (plainly, streaming):
        (attempt,) = exchange.attempts
        assert attempt.usage is not None
        assert attempt.usage.completion == 3
        assert attempt.answer is not None
        assert (attempt.answer.text or "").strip() == "so it goes"


async def test_an_endpoint_that_the_student_does_not_declare_is_the_teachers(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = completing("from the teacher")
    async with running(teacher, student, tmp_path, share_bp=10_000, sampling=EVERYTHING) as at:
        await at.openai().completions.create(model="chat", prompt="a")
        exchange = await at.exchange()
    assert (exchange.served_arm, exchange.plan.reasons, exchange.plan.shadow) == ("teacher", ("endpoint",), None)
    assert student.asked == []


# --- embeddings -------------------------------------------------------------------------------------------------------


async def test_embeddings_are_relayed_counted_and_not_kept(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = embedding(0.25, -1.5)
    async with running(teacher, student, tmp_path) as at:
        answer = await at.openai().embeddings.create(model="chat", input=["a", "b"], encoding_format="float")
        exchange = await at.exchange()
    assert [item.embedding for item in answer.data] == [[0.25, -1.5]] * 2
    assert (exchange.endpoint, exchange.outcome) == ("embeddings", "ok")
    assert exchange.attempts[0].usage is not None
    assert exchange.attempts[0].usage.prompt == 5
    assert exchange.attempts[0].answer is None


async def test_an_embedding_that_is_none_falls_back(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script = embedding(1.0)
    student.script = failing(200, "no such thing")
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        answer = await at.openai().embeddings.with_raw_response.create(model="chat", input="a", encoding_format="float")
    assert answer.headers["x-tutelage-arm"] == "teacher"
    assert answer.parse().data[0].embedding == [1.0]


# --- responses --------------------------------------------------------------------------------------------------------


async def test_responses_that_keep_no_state_are_split(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    student.script = responding("the student's")
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        answer = await at.openai().responses.with_raw_response.create(model="chat", input="hi", store=False)
        exchange = await at.exchange()
    assert answer.headers["x-tutelage-arm"] == "student"
    assert answer.parse().output_text == "the student's"
    assert student.asked[0].json["store"] is False
    assert exchange.endpoint == "responses"
    assert exchange.attempts[0].answer is not None
    assert exchange.attempts[0].answer.text == "the student's"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "stateful"),
        ({"store": True}, "stateful"),
        ({"previous_response_id": "resp_0", "store": False}, "stateful"),
        ({"background": True, "store": False}, "stateful"),
        ({"tools": [{"type": "web_search"}], "store": False}, "hosted_tools"),
    ],
)
async def test_responses_with_state_are_the_teachers_and_never_shadowed(
    fields: dict[str, Any], reason: str, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    teacher.script = responding("the teacher's")
    async with running(teacher, student, tmp_path, share_bp=10_000, sampling=EVERYTHING, change=able) as at:
        answer = await at.openai().responses.create(model="chat", input="hi", **fields)
        exchange = await at.exchange()
    assert answer.output_text == "the teacher's"
    assert (exchange.plan.reasons, exchange.plan.shadow, exchange.plan.in_population) == ((reason,), None, False)
    assert {name: teacher.asked[0].json.get(name) for name in fields} == fields
    assert student.asked == []


async def test_a_shadow_of_responses_keeps_no_state_either(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    teacher.script, student.script = responding("t"), responding("s")
    async with running(teacher, student, tmp_path, share_bp=10_000, sampling=EVERYTHING, change=able) as at:
        await at.openai().responses.create(model="chat", input="hi", store=False, metadata={"a": "b"})
        await until(lambda: bool(at.shadows()))
        (shadow,) = at.shadows()
        exchange = await at.exchange()
    assert teacher.asked[0].json["store"] is False
    assert shadow.params_hash == exchange.params_hash
    assert shadow.attempt is not None
    assert shadow.attempt.answer is not None
    assert shadow.attempt.answer.text == "t"


async def test_a_stream_of_responses_ends_with_its_last_event_and_without_done(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    events = response_events("word by word")

    async def script(asked: Asked) -> Any:
        return await streamed(asked, *events)

    teacher.script = script
    ask = {"model": "chat", "input": "hi", "stream": True}
    async with running(teacher, student, tmp_path) as at:
        raw = await at.http().post("/v1/responses", json=ask)
        stream = await at.openai().responses.create(model="chat", input="hi", stream=True)
        kinds = [event.type async for event in stream]
        await until(lambda: len(at.exchanges()) == 2)
        exchange = at.exchanges()[0]
    assert raw.content == b"".join(events)
    assert kinds == ["response.created", *["response.output_text.delta"] * 3, "response.completed"]
    assert "stream_options" not in teacher.asked[0].json
    assert (exchange.outcome, exchange.truncated) == ("ok", False)
    assert exchange.attempts[0].usage is not None
    assert exchange.attempts[0].usage.completion == 3


@pytest.mark.parametrize("abort", [True, False])
async def test_a_stream_of_responses_that_stops_early_says_so_in_its_own_words(
    *, abort: bool, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    events = response_events("word by word")[:3]

    async def ended(asked: Asked) -> Any:
        return await streamed(asked, *events)

    teacher.script = breaking(*events) if abort else ended
    async with running(teacher, student, tmp_path) as at:
        raw = await at.http().post("/v1/responses", json={"model": "chat", "input": "hi", "stream": True})
        stream = await at.openai().responses.create(model="chat", input="hi", stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            [event async for event in stream]
        await until(lambda: len(at.exchanges()) == 2)
        exchange = at.exchanges()[0]
    told = raw.content.removeprefix(b"".join(events))
    assert told.startswith(b"event: error\ndata: ")
    error = json.loads(told.removeprefix(b"event: error\ndata: "))
    assert (error["type"], error["sequence_number"]) == ("error", 3)
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert (exchange.outcome, exchange.truncated) == ("truncated", True)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_response_that_failed_is_a_fault(
    *, streaming: bool, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    """Plain, it is held whole, so the teacher takes over; streamed, an error as first event does the same."""

    async def failed(asked: Asked) -> Any:
        if streaming:
            return await streamed(asked, typed("error", 0, code="server_error", message="no", param=None))
        return plain(json.dumps(response("", "failed", error={"code": "server_error", "message": "no"})).encode())

    student.script, teacher.script = failed, responding("rescued")
    ask = {"model": "chat", "input": "hi", "store": False, "stream": streaming}
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        answer = await at.http().post("/v1/responses", json=ask)
        exchange = await at.exchange()
    assert answer.headers["x-tutelage-arm"] == "teacher"
    assert b"rescued" in answer.content
    assert exchange.attempts[0].error == "error_event"


async def test_a_response_that_fails_in_its_stream_is_passed_on_and_counted(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    events = response_events("half", last="response.failed")

    async def script(asked: Asked) -> Any:
        return await streamed(asked, *events)

    teacher.script = script
    async with running(teacher, student, tmp_path) as at:
        raw = await at.http().post("/v1/responses", json={"model": "chat", "input": "hi", "stream": True})
        exchange = await at.exchange()
    assert raw.content == b"".join(events)
    assert (exchange.outcome, exchange.cause) == ("truncated", "error_event")


async def test_without_a_model_a_response_is_the_default_upstreams(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    def change(content: dict[str, Any]) -> None:
        content["default_upstream"] = "big"

    teacher.script = responding("from a stored prompt")
    asked = {"prompt": {"id": "pmpt_1"}}
    async with running(teacher, student, tmp_path) as at:
        refused = await at.http().post("/v1/responses", json=asked)
    async with running(teacher, student, tmp_path, change=change) as at:
        answer = await at.http().post("/v1/responses", json=asked)
        chat = await at.http().post("/v1/chat/completions", json={"messages": []})
    assert (refused.status_code, chat.status_code) == (400, 400)
    assert refused.json()["error"]["code"] == "missing_required_parameter"
    assert answer.status_code == 200
    assert teacher.asked[0].json == asked
