"""`model: echo`: answers call their model what the client called it; everything else in them stays."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse import Ending, scanner_of, with_model_named
from tests.gateway.answering import response_events
from tests.gateway.harness import running
from tests.gateway.model_server import DONE, USAGE, Asked, ModelServer, completion, delta, plain, streamed

STREAMS = {
    Ending.DONE: [b": hi\n\n", delta("a \u2028 model"), delta(None, "stop"), USAGE, DONE],
    Ending.TYPED: response_events("one two"),
}


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 2000), max_size=6))
def test_under_any_chunking_only_the_models_name_changes(ending: Ending, places: list[int]):
    sent = b"".join(STREAMS[ending])
    cuts = [0, *sorted(place % len(sent) for place in places), len(sent)]
    scanner = scanner_of(ending, strip_usage=False, model="mine")
    out = b"".join(scanner.feed(sent[start:end]) for start, end in itertools.pairwise(cuts)) + scanner.rest()
    assert scanner.done
    assert out.count(b'"model":"mine"') == sent.count(b"as-the-upstream-says") > 0
    assert _values(out.replace(b'"model":"mine"', b'"model":"as-the-upstream-says"')) == _values(sent)


def _values(stream: bytes) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"a":1}', b'{"response":7}', b""])
def test_what_names_no_model_stays(body: bytes):
    assert with_model_named(body, "mine") == body


async def test_plain_and_streamed_answers_name_what_was_asked_for(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async def script(asked: Asked) -> Any:
        if asked.json.get("stream"):
            return await streamed(asked, delta("a"), delta(None, "stop"), DONE)
        return plain(completion("a", model="nested"))

    teacher.script = script
    async with running(teacher, student, tmp_path, model="echo") as at:
        client = at.openai()
        ask: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": []}
        answer = await client.chat.completions.create(**ask)
        chunks = [chunk async for chunk in await client.chat.completions.create(**ask, stream=True)]
    assert answer.model == "gpt-4.1-mini"
    assert answer.choices[0].message.model_extra == {"model": "nested"}
    assert {chunk.model for chunk in chunks} == {"gpt-4.1-mini"}


async def test_by_default_the_model_is_what_the_upstream_said(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        answer = await at.openai().chat.completions.create(model="gpt-4.1-mini", messages=[])
    assert answer.model == "as-the-upstream-says"
