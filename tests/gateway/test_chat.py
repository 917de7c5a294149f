"""Chat completions end to end, with OpenAI's own client."""

import json
from pathlib import Path

import openai
import pytest

from tests.gateway.harness import running
from tests.gateway.model_server import ModelServer

ASK = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hello"}]}


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


async def test_a_stream_comes_word_by_word(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path, share_bp=10_000) as at:
        stream = await at.openai().chat.completions.create(**ASK, stream=True)
        chunks = [chunk async for chunk in stream]
        exchange = await at.exchange()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "I am student "
    assert all(chunk.usage is None for chunk in chunks)
    assert student.asked[0].json["stream_options"] == {"include_usage": True}
    assert exchange.attempts[0].usage is not None
    assert exchange.attempts[0].usage.completion == 3


async def test_a_wrong_key_is_refused(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        with pytest.raises(openai.AuthenticationError) as refused:
            await at.openai("tut-datb").chat.completions.create(**ASK)
    assert refused.value.body is not None
    assert set(json.loads(refused.value.response.content)["error"]) == {"message", "type", "param", "code"}
