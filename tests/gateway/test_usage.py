import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.usage import TAIL_BYTES, usage_in
from tests.tutelage.capture.raws import chat_body, sse
from tutelage.capture.answers import read_answer
from tutelage.contracts.records import Usage

CHUNKS = [
    {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": None},
    {
        "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
    },
]


def test_a_plain_answer_tells_it():
    assert usage_in([chat_body()]) == Usage(prompt=10, completion=5)


def test_a_stream_tells_it_at_its_end():
    assert usage_in([sse(CHUNKS)]) == Usage(prompt=7, completion=2, cached=3)


def test_responses_have_other_names():
    body = json.dumps({"usage": {"input_tokens": 4, "output_tokens": 6, "input_tokens_details": {"cached_tokens": 1}}})
    assert usage_in([body.encode()]) == Usage(prompt=4, completion=6, cached=1)


def test_metadata_behind_it_hides_nothing():
    metadata = {f"{number:064}": "x" * 512 for number in range(16)}
    body = json.dumps({"usage": {"input_tokens": 4, "output_tokens": 6}, "user": None, "metadata": metadata})
    assert usage_in([body.encode()]) == Usage(prompt=4, completion=6)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"usage":null}', b'{"usage":{"prompt_tokens":"x"}}', b'{"usage":{}}', b'{"usage":{', b"\xff"],
)
def test_an_answer_that_does_not_tell_is_unknown(body: bytes):
    assert usage_in([body]) is None


def test_what_the_model_says_of_usage_is_not_read():
    said = 'I used "usage": {"prompt_tokens": 1, "completion_tokens": 1}'
    assert usage_in([chat_body(said)]) == Usage(prompt=10, completion=5)


def test_a_long_answer_costs_no_more_than_its_tail():
    assert usage_in([b'"usage":{"prompt_tokens":1}', b"x" * TAIL_BYTES]) is None
    assert usage_in([b"x" * 10**6, *([b"y"] * 10**4), sse(CHUNKS)]) == Usage(prompt=7, completion=2, cached=3)


@given(st.lists(st.integers(1, 40), max_size=30))
def test_any_chunking_tells_the_same_as_reading_the_whole_answer(cuts: list[int]):
    body, chunks = sse(CHUNKS), []
    for cut in cuts:
        chunks.append(body[:cut])
        body = body[cut:]
    chunks.append(body)
    whole = read_answer(b"".join(chunks), endpoint="chat.completions", content_type="text/event-stream")
    assert usage_in(chunks) == whole.usage
