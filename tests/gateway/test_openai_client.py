"""What OpenAI's own client makes of answers that came through: tools, choices, schemas, images, audio, log-probabilities."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.gateway.harness import running
from tests.gateway.model_server import DONE, Asked, ModelServer, completion, event, plain, streamed

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": PLACE}}


def able(content: dict[str, Any]) -> None:
    can = {"tools": True, "structured": True, "vision": True, "audio": True}
    content["upstreams"]["small"]["can"] = can


def call(number: int, city: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": json.dumps({"city": city})}
    return {"id": f"call_{number}", "type": "function", "function": function}


def in_pieces(number: int, city: str) -> list[bytes]:
    """A tool call as it is streamed."""
    first = {"index": number, **call(number, ""), "function": {"name": "weather", "arguments": ""}}
    pieces = ({"index": number, "function": {"arguments": piece}} for piece in ('{"city"', f':"{city}"}}'))
    return [chunk(said(0, tool_calls=[made])) for made in (first, *pieces)]


def chunk(*choices: dict[str, Any]) -> bytes:
    shape = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event({**shape, "choices": [{"finish_reason": None, **choice} for choice in choices]})


def said(index: int, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta}


async def test_parallel_tool_calls_plain(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    calls = [call(1, "Bern"), call(2, "Oslo")]

    async def script(asked: Asked) -> Any:
        return plain(completion(None, tool_calls=calls))  # type: ignore[arg-type]

    student.script = script
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        answer = await at.openai().chat.completions.create(**ASK, tools=[TOOL], parallel_tool_calls=True)
        exchange = await at.exchange()
    assert answer.choices[0].message.tool_calls is not None
    assert [made.model_dump() for made in answer.choices[0].message.tool_calls] == calls
    assert student.asked[0].json["parallel_tool_calls"] is True
    assert exchange.attempts[0].answer is not None
    assert list(exchange.attempts[0].answer.tool_calls) == calls


async def test_parallel_tool_calls_streamed_in_pieces(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    """Id and name come first only, arguments in pieces, each under its call's index."""
    pieces = [
        chunk(said(0, role="assistant", content=None)),
        *(piece for number, city in enumerate(("Bern", "Oslo")) for piece in in_pieces(number, city)),
        chunk({"index": 0, "delta": {}, "finish_reason": "tool_calls"}),
        DONE,
    ]

    async def script(asked: Asked) -> Any:
        return await streamed(asked, *pieces)

    student.script = script
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        async with at.openai().chat.completions.stream(**ASK, tools=[TOOL]) as stream:
            answer = await stream.get_final_completion()
        exchange = await at.exchange()
    made = answer.choices[0].message.tool_calls
    assert made is not None
    assert [json.loads(each.function.arguments)["city"] for each in made] == ["Bern", "Oslo"]
    assert exchange.attempts[0].answer is not None
    assert [each["function"]["arguments"] for each in exchange.attempts[0].answer.tool_calls] == [
        '{"city":"Bern"}',
        '{"city":"Oslo"}',
    ]


async def test_several_choices_plain_and_interleaved(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async def script(asked: Asked) -> Any:
        if asked.json.get("stream"):
            pieces = [
                chunk(said(0, content=""), said(1, content="b1 ")),
                chunk(said(0, content="a1 "), said(1, content="b2")),
            ]
            ends = chunk(*({"index": index, "delta": {}, "finish_reason": "stop"} for index in (0, 1)))
            return await streamed(asked, *pieces, chunk(said(0, content="a2")), ends, DONE)
        body = json.loads(completion("a1 a2"))
        body["choices"].append({**body["choices"][0], "index": 1, "message": {"role": "assistant", "content": "b1 b2"}})
        return plain(json.dumps(body).encode())

    student.script = script
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        client = at.openai()
        answer = await client.chat.completions.create(**ASK, n=2)
        async with client.chat.completions.stream(**ASK, n=2) as stream:
            final = await stream.get_final_completion()
    for choices in (answer.choices, final.choices):
        assert {choice.index: choice.message.content for choice in choices} == {0: "a1 a2", 1: "b1 b2"}
    assert [asked.json["n"] for asked in student.asked] == [2, 2]


class City(BaseModel):
    """What the schema asks for."""

    name: str
    people: int


async def test_structured_output_is_parsed(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async def script(asked: Asked) -> Any:
        assert asked.json["response_format"]["json_schema"]["strict"] is True
        return plain(completion('{"name":"Bern","people":134000}'))

    student.script = script
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        answer = await at.openai().chat.completions.parse(**ASK, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Bern", people=134_000)
    assert teacher.asked == []


async def test_log_probabilities_arrive_and_are_kept(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    logprobs = {"content": [{"token": "x", "logprob": -0.25, "bytes": [120], "top_logprobs": []}], "refusal": None}

    async def script(asked: Asked) -> Any:
        body = json.loads(completion("x"))
        body["choices"][0]["logprobs"] = logprobs
        return plain(json.dumps(body).encode())

    student.script = script
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        answer = await at.openai().chat.completions.create(**ASK, logprobs=True, top_logprobs=2)
        exchange = await at.exchange()
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.content is not None
    assert answer.choices[0].logprobs.content[0].logprob == -0.25
    assert exchange.attempts[0].answer is not None
    assert exchange.attempts[0].answer.logprobs == logprobs


MEDIA: dict[str, Any] = {
    "image": {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    "audio": {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
}


@pytest.mark.parametrize("kind", MEDIA)
async def test_media_reach_an_arm_that_can_and_only_that(
    kind: str, teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "what is it"}, MEDIA[kind]]}]
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        await at.openai().chat.completions.create(model="chat", messages=messages)
    assert student.asked[0].json["messages"] == messages
    async with running(teacher, student, tmp_path / "unable", share_bp=10_000) as at:
        await at.openai().chat.completions.create(model="chat", messages=messages)
    assert teacher.asked[0].json["messages"] == messages


async def test_an_audio_answer_is_the_teachers(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        await at.openai().chat.completions.create(
            **ASK, modalities=["text", "audio"], audio={"voice": "alloy", "format": "mp3"}
        )
        exchange = await at.exchange()
    assert exchange.plan.reasons == ("audio",)
    assert teacher.asked[0].json["audio"] == {"voice": "alloy", "format": "mp3"}


async def test_vllms_own_fields_reach_the_student(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    own = {"top_k": 5, "min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}, "guided_choice": ["a", "b"]}
    async with running(teacher, student, tmp_path, share_bp=10_000, change=able) as at:
        await at.openai().chat.completions.create(**ASK, extra_body=own)
    assert {name: student.asked[0].json[name] for name in own} == own
