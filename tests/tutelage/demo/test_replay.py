"""The recorded upstreams: what was recorded is answered byte for byte, what was not is an error, never a guess."""

import json
from typing import Any

import pytest

from tutelage.demo.recording import GOOD, WEAK, Recorded, Row, key_of
from tutelage.demo.replay import Replay

MESSAGES = [{"role": "system", "content": "Name the section."}, {"role": "user", "content": "a chess engine"}]
BODIES = {"teacher": '{"said":"games"}', GOOD: '{"said": "games" }', WEAK: '{"said":"net"}'}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def replay() -> Replay:
    answers = {name: Recorded(total_ms=5.0, body=body) for name, body in BODIES.items()}
    row = Row(messages_sha256=key_of(MESSAGES), input="a chess engine", answers=answers)
    return Replay({row.messages_sha256: row}, GOOD, "none")


def asking(messages: Any = MESSAGES, **fields: Any) -> bytes:
    return json.dumps({"model": "any", "messages": messages, **fields}).encode()


@pytest.mark.parametrize(("arm", "model"), [("teacher", "teacher"), ("student", GOOD)])
async def test_a_recorded_input_gets_the_recorded_bytes(replay: Replay, arm: str, model: str):
    assert await replay.answer("POST", f"/{arm}/v1/chat/completions", asking()) == (200, BODIES[model].encode())


async def test_the_key_is_the_messages_whatever_the_order_of_their_keys(replay: Replay):
    turned = [dict(reversed(message.items())) for message in MESSAGES]
    status, _ = await replay.answer("POST", "/teacher/v1/chat/completions", asking(turned, temperature=1))
    assert status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (asking([{"role": "user", "content": "a chess engine"}]), "not_recorded"),
        (asking(stream=True), "not_recorded"),
        (b"{", "invalid_json"),
        (b'{"model":"any"}', "invalid_json"),
    ],
)
async def test_what_was_not_recorded_is_an_error(replay: Replay, body: bytes, code: str):
    status, answer = await replay.answer("POST", "/student/v1/chat/completions", body)
    assert (status, json.loads(answer)["error"]["code"]) == (400, code)


async def test_a_silent_regression_changes_who_answers_as_the_student_and_nothing_else(replay: Replay):
    assert await replay.answer("PUT", "/student", b"weak") == (200, b"{}")
    assert (await replay.answer("POST", "/student/v1/chat/completions", asking()))[1] == BODIES[WEAK].encode()
    assert (await replay.answer("POST", "/teacher/v1/chat/completions", asking()))[1] == BODIES["teacher"].encode()


async def test_a_model_that_was_not_recorded_cannot_answer(replay: Replay):
    status, answer = await replay.answer("PUT", "/student", b"best")
    assert (status, json.loads(answer)["error"]["code"]) == (400, "unknown_model")
    assert replay.student == GOOD


async def test_nothing_else_is_served(replay: Replay):
    assert (await replay.answer("GET", "/student/v1/models", b""))[0] == 404
    assert (await replay.answer("POST", "/judge/v1/chat/completions", asking()))[0] == 404
