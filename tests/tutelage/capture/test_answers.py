import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tutelage.capture.raws import chat_body, sse
from tutelage.capture.answers import read_answer
from tutelage.capture.bodies import read_usage
from tutelage.capture.loose import Malformed, read_json
from tutelage.contracts.records import Usage, encode

CHAT = "chat.completions"


def delta(index=0, finish=None, logprobs=None, **fields):
    choice = {"index": index, "delta": fields, "finish_reason": finish}
    return {"id": "c", "system_fingerprint": "fp", "choices": [choice | ({"logprobs": logprobs} if logprobs else {})]}


def read(body, endpoint=CHAT, content_type=None):
    return read_answer(body, endpoint=endpoint, content_type=content_type)


def piece(index, **fields):
    return {"index": index} | fields


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_reads_like_the_same_answer_in_one_body():
    events = [
        delta(role="assistant", content=""),
        delta(content="I am "),
        delta(content="a model."),
        delta(finish="stop"),
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}},
    ]
    streamed, whole = read(sse(events)), read(chat_body())
    assert streamed.answer == whole.answer
    assert streamed.usage == whole.usage == Usage(prompt=10, completion=5)
    assert (streamed.fingerprint, streamed.error, streamed.broke) == ("fp", None, False)


WORDS = st.sampled_from(
    ["a", " b", "", '"', "\\", '\\"}', "\n", "é", "日本", "\U0001f600", '"}', "data: ", '{"delta":{"content":"x"}}']
)
DELTAS = st.one_of(
    st.lists(WORDS.map(lambda word: delta(content=word)), min_size=3, max_size=20),
    st.just([delta(role="assistant", content="")]),
    st.just([delta(content="", role="assistant")]),
    st.just([delta(content="x", content_filter="y")]),
    st.just([delta(refusal="no")]),
    st.just([delta(reasoning_content="hm")]),
    st.just([delta(content=None)]),
    st.just([delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}])]),
    st.lists(WORDS.map(lambda word: delta(1, content=word)), max_size=3),
    st.lists(WORDS.map(lambda word: delta(content=word, logprobs={"content": [1]})), max_size=3),
    st.just([{"choices": [{"index": 0, "delta": {"content": "p"}}, {"index": 1, "delta": {"content": "q"}}]}] * 3),
    st.just([{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}]),
    st.just([delta(finish="stop")]),
    st.just([{"error": {"message": "x"}}]),
)


@settings(max_examples=400, deadline=None)
@given(
    runs=st.lists(DELTAS, max_size=8),
    separators=st.sampled_from([(",", ":"), (", ", ": ")]),
    end=st.sampled_from(["[DONE]", ""]),
    escaped=st.booleans(),
)
def test_words_that_are_read_at_once_are_those_read_one_by_one(runs, separators, end, escaped):
    events = [json.dumps(e, separators=separators, ensure_ascii=escaped) for run in runs for e in run]
    at_once = read(sse(events, end=end), content_type="text/event-stream")
    one_by_one = read(sse(events, end=end, newline="\r\n"), content_type="text/event-stream")
    assert at_once == one_by_one


def test_tool_calls_are_assembled_by_index():
    events = [
        delta(role="assistant", content=None),
        delta(tool_calls=[piece(1, id="b", type="function", function={"name": "g", "arguments": ""})]),
        delta(tool_calls=[piece(0, id="a", type="function", function={"name": "f", "arguments": '{"x"'})]),
        delta(tool_calls=[piece(1, function={"arguments": "{}"}), piece(0, function={"arguments": ":1}"})]),
        delta(finish="tool_calls"),
    ]
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    streamed = read(sse(events)).answer
    whole = {
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"content": None, "tool_calls": calls}}]
    }
    assert list(streamed.tool_calls) == streamed.choices[0]["tool_calls"] == calls
    assert read(json.dumps(whole).encode()).answer.tool_calls == streamed.tool_calls
    assert (streamed.text, streamed.finish_reason) == (None, "tool_calls")


def test_tool_calls_without_an_index_begin_anew_with_each_id():
    events = [
        delta(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "1"}}]),
        delta(tool_calls=[{"function": {"arguments": "2"}}]),
        delta(tool_calls=[{"id": "b", "function": {"name": "g", "arguments": "3"}}]),
        delta(finish="tool_calls"),
    ]
    found = [(call["id"], call["function"]["arguments"]) for call in read(sse(events)).answer.tool_calls]
    assert found == [("a", "12"), ("b", "3")]


def test_several_choices_interleave_and_come_out_in_the_order_of_their_index():
    events = [
        delta(1, content="B"),
        delta(0, content="a"),
        delta(1, content="b"),
        delta(0, "stop", content="A"),
        delta(1, "length"),
    ]
    answer = read(sse(events)).answer
    assert [choice["content"] for choice in answer.choices] == ["aA", "Bb"]
    assert (answer.text, answer.finish_reason) == ("aA", "stop")


def test_refusals_reasoning_logprobs_and_unknown_fields_survive():
    token = {"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}
    events = [
        delta(refusal="I ", reasoning_content="hm", logprobs={"content": [token], "refusal": None}),
        delta(refusal="won't", reasoning_content="m", logprobs={"content": [token]}, annotations=[{"url": 1}]),
        delta(finish="stop", annotations=[{"url": 2}]),
    ]
    answer = read(sse(events)).answer
    assert answer.refusal == "I won't"
    assert answer.choices[0]["reasoning_content"] == "hmm"
    assert answer.choices[0]["annotations"] == [{"url": 1}, {"url": 2}]
    assert answer.logprobs == {"content": [token, token]}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_end_with_any_newline_of_the_standard_and_with_nothing_else(newline):
    text = "a\u2028b\u0085c\u000bd"
    body = b": comment\n\n" + sse([delta(content=text), delta(finish="stop")], newline=newline)
    assert read(body).answer.text == text


def test_a_model_that_writes_frames_does_not_end_its_own_stream():
    fake = 'data: [DONE]\n\ndata: {"choices":[]}\r\n\r\nevent: error'
    reading = read(sse([delta(content=fake), delta(content=" more"), delta(finish="stop")]))
    assert reading.answer.text == fake + " more"
    assert reading.error is None


def test_an_event_of_several_data_lines_and_names_is_one_event():
    body = b'event: chunk\nid: 7\ndata: {"choices":[{"index":0,\ndata:"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n'
    assert read(body).answer.text == "x"


def test_completions_have_text_instead_of_messages():
    events = [{"choices": [{"index": 0, "text": part, "finish_reason": None}]} for part in ("a", "b")]
    body = {"choices": [{"index": 0, "text": "ab", "finish_reason": "stop"}]}
    streamed = read(sse([*events, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}]), "completions")
    assert streamed.answer == read(json.dumps(body).encode(), "completions").answer
    assert streamed.answer.text == "ab"


def test_a_stream_that_stops_before_its_end_keeps_what_came_and_is_broken():
    reading = read(sse([delta(content="half an ans")], end=""))
    assert (reading.answer.text, reading.error, reading.broke) == ("half an ans", "truncated", True)
    cut = sse([delta(content="half an ans"), delta(content="wer")], end="")[:-20]
    assert read(cut).answer.text == "half an ans"
    assert read(cut).broke


def test_a_finish_reason_ends_a_stream_without_done():
    assert read(sse([delta(content="x"), delta(finish="stop")], end="")).error is None


def test_an_error_inside_a_stream_is_told():
    reading = read(sse([delta(content="x"), {"error": {"message": "overloaded"}}], end=""))
    assert (reading.error, reading.broke) == ("error_event", True)


@given(cuts=st.lists(st.integers(0, 2_000), max_size=30), newline=st.sampled_from(["\n", "\r\n"]))
def test_any_chunking_of_the_same_bytes_gives_the_same_answer(cuts, newline):
    call = piece(0, id="a", function={"name": "f", "arguments": '{"ä":'})
    events = [
        delta(content="日本"),
        delta(content="語 é"),
        delta(tool_calls=[call]),
        delta(tool_calls=[piece(0, function={"arguments": "1}"})]),
        delta(1, "stop", content="two"),
        delta(0, "stop"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    ]
    body = sse(events, newline=newline)
    at = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in itertools.pairwise(at)]
    reading = read(b"".join(chunks))
    assert reading == read(body)
    assert (reading.answer.text, reading.error) == ("日本語 é", None)


@given(pieces=st.lists(st.text(), max_size=20))
def test_the_text_is_its_deltas_joined(pieces):
    body = sse([*(delta(content=text) for text in pieces), delta(finish="stop")])
    surviving = "".join(pieces)
    assert (read(body, content_type="text/event-stream").answer.text or "") == surviving


# --- what must never raise --------------------------------------------------------------------------------------------

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "choices": TREES | st.lists(
            st.fixed_dictionaries({}, optional={
                "index": TREES, "delta": TREES, "message": TREES, "text": TREES, "finish_reason": TREES, "logprobs": TREES,
            }) | st.fixed_dictionaries({"delta": st.fixed_dictionaries({}, optional={
                "content": TREES, "role": TREES,
                "tool_calls": st.lists(st.fixed_dictionaries({}, optional={"id": TREES, "index": TREES, "function": TREES})),
            })}), max_size=3),
        "usage": TREES, "error": TREES, "type": TREES, "output": TREES, "system_fingerprint": TREES,
    },
)  # fmt: skip
ENDPOINTS = st.sampled_from([CHAT, "completions", "responses", "embeddings", "unheard.of"])


@given(shapes=st.lists(SHAPES, max_size=3), endpoint=ENDPOINTS)
def test_upstreams_of_any_shape_never_raise(shapes, endpoint):
    for body in (json.dumps(shapes[0] if shapes else []).encode(), sse(shapes)):
        reading = read(body, endpoint)
        assert reading.answer is None or encode(reading.answer)


@given(
    body=st.binary(), endpoint=ENDPOINTS, content_type=st.sampled_from([None, "text/event-stream", "application/json"])
)
def test_bytes_of_any_kind_never_raise(body, endpoint, content_type):
    reading = read(body, endpoint, content_type)
    assert reading.answer is None or encode(reading.answer)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"<html>", b"\xff\xfe", b"{}", b'{"choices":1}', b'{"choices":[1]}', b"[" * 100_000,
     b'{"choices":[{"message":"x"}]}', b"data: {nonsense}\n\n", b"data: [1]\n\n", b"data: 1],[2\n\n"],
)  # fmt: skip
def test_malformed_bodies_are_no_answer_and_say_so(body):
    reading = read(body)
    assert reading.answer is None
    assert reading.error == "malformed"


def test_what_is_nested_so_deeply_that_its_readers_might_fail_is_not_kept():
    assert read_json(b"[" * 200 + b"]" * 200)
    assert len(read_json(b"[" + b'{"a":[]},' * 5_000 + b"{}]")) == 5_001
    for too_deep in (b"[" * 201 + b"]" * 201, b'{"a":' * 250 + b"1" + b"}" * 250, b"[" * 990 + b"]" * 990):
        with pytest.raises(Malformed):
            read_json(too_deep)


def test_lone_surrogates_and_long_integers_are_made_storable():
    value = read_json(b'{"a":"\\ud800x","b":123456789012345678901234567890,"c":1.5,"d":[-1,true,null]}')
    assert value == {"a": "\ufffdx", "b": 123456789012345678901234567890.0, "c": 1.5, "d": [-1, True, None]}
    answer = read(b'{"choices":[{"index":0,"message":{"content":"\\ud800"}}]}').answer
    assert encode(answer)
    assert (
        read(b'data: {"choices":[{"index":0,"delta":{"content":"\\ud800"}}]}\n\ndata: [DONE]\n\n').answer.text
        == "\ufffd"
    )
    with pytest.raises(Malformed):
        read_json(b"{'a': 1}")


# --- responses, embeddings, usage -------------------------------------------------------------------------------------

RESPONSE = {
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi "}, {"type": "output_text", "text": "there"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ],
    "usage": {
        "input_tokens": 7, "output_tokens": 3,
        "input_tokens_details": {"cached_tokens": 2}, "output_tokens_details": {"reasoning_tokens": 1},
    },
}  # fmt: skip


def test_responses_are_read_from_their_body_and_from_their_last_event():
    whole = read(json.dumps(RESPONSE).encode(), "responses")
    events = [
        {"type": "response.output_text.delta", "delta": "Hi "},
        {"type": "response.completed", "response": RESPONSE},
    ]
    assert read(sse(events, end=""), "responses") == whole
    assert whole.answer.text == "Hi there"
    assert whole.answer.finish_reason == "stop"
    assert whole.answer.tool_calls[0]["function"] == {"name": "f", "arguments": "{}"}
    assert whole.usage == Usage(prompt=7, completion=3, cached=2, reasoning=1)


def test_a_response_without_its_last_event_is_broken():
    reading = read(sse([{"type": "response.output_text.delta", "delta": "Hi"}], end=""), "responses")
    assert (reading.answer.text, reading.error, reading.broke) == ("Hi", "truncated", True)


def test_an_incomplete_response_says_why():
    body = RESPONSE | {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert read(json.dumps(body).encode(), "responses").answer.finish_reason == "max_output_tokens"


def test_embeddings_are_counted_and_not_kept():
    reading = read(b'{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}', "embeddings")
    assert (reading.answer, reading.error, reading.usage) == (None, None, Usage(prompt=3))


def test_usage_that_is_none_stays_unknown():
    assert read_usage(None) is None
    assert read_usage({"prompt_tokens": -1, "completion_tokens": True}) is None
    assert read_usage({"prompt_tokens": 0}) == Usage(prompt=0)
