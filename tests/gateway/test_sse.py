"""The scanner: identity under any chunking, and usage removed without a trace."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse import Scanner, data_of, is_error

EOL = (b"\n", b"\r\n", b"\r")
CHUNK = {"id": "c1", "created": 12345678901234567890, "choices": [{"index": 0, "delta": {"content": "x\u2028\u0085é"}}]}
USAGE = {"id": "c1", "created": 1, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


def passed(chunks: list[bytes], *, strip: bool) -> tuple[bytes, Scanner]:
    scanner = Scanner(strip_usage=strip)
    out = b"".join([scanner.feed(chunk) for chunk in chunks])
    return out + scanner.rest(), scanner


def as_event(data: str, eol: bytes = b"\n") -> bytes:
    return b"data: " + data.encode() + eol + eol


lines = st.sampled_from(
    [b"data: {}", b"data: [DONE]", b"data:", b": comment", b"event: x", b"id: 1", b"", b"data: \xff\x00", b"x"]
)
streams = st.lists(st.tuples(lines, st.sampled_from(EOL)), max_size=30).map(
    lambda parts: b"".join(a + b for a, b in parts)
)
cuts = st.lists(st.integers(0, 10_000), max_size=20)
contents = st.text(max_size=30)


@given(streams, cuts)
def test_without_stripping_every_chunk_leaves_as_it_came(stream: bytes, places: list[int]):
    chunks = split(stream, places)
    scanner = Scanner(strip_usage=False)
    assert [scanner.feed(chunk) for chunk in chunks] == chunks
    assert scanner.rest() == b""


@given(streams, cuts)
def test_stripping_changes_nothing_where_there_is_no_usage(stream: bytes, places: list[int]):
    assert passed(split(stream, places), strip=True)[0] == stream


@given(streams, cuts)
def test_what_is_found_does_not_depend_on_the_chunking(stream: bytes, places: list[int]):
    whole, parts = passed([stream], strip=False)[1], passed(split(stream, places), strip=False)[1]
    assert (whole.done, whole.error) == (parts.done, parts.error)


@given(st.lists(contents, min_size=1, max_size=8), st.sampled_from(EOL), cuts, st.booleans())
def test_a_stream_with_injected_usage_becomes_the_one_without(
    texts: list[str], eol: bytes, places: list[int], spaced: bool
):
    separators = (", ", ": ") if spaced else (",", ":")

    def said(text: str, **more: None) -> str:
        message = {
            "id": "c",
            "choices": [{"delta": {"content": text, "usage": None}, "n": 'a "usage": null, b'}],
            **more,
        }
        return json.dumps(message | {"obfuscation": "zz"}, ensure_ascii=False, separators=separators)

    done = as_event("[DONE]", eol)
    without = b"".join(as_event(said(text), eol) for text in texts) + done
    null = b"".join(as_event(said(text, usage=None), eol) for text in texts)
    with_usage = null + as_event(json.dumps(USAGE), eol) + done
    assert passed(split(with_usage, places), strip=True)[0] == without


def test_usage_that_comes_with_choices_stays():
    stream = as_event(json.dumps(USAGE | {"choices": [{"index": 0, "delta": {}}]}))
    assert passed([stream], strip=True)[0] == stream


def test_usage_first_alone_and_last_is_removed_with_its_comma():
    for with_null, without in (
        ('{"usage":null}', "{}"),
        ('{"usage": null, "choices": []}', '{ "choices": []}'),
        ('{"choices": [], "usage": null}', '{"choices": []}'),
    ):
        first = as_event('{"choices":[1]}')
        assert passed([first + as_event(with_null)], strip=True)[0] == first + as_event(without)


def test_an_event_is_not_split_at_unicode_line_ends():
    event = as_event(json.dumps(CHUNK, ensure_ascii=False))
    _, scanner = passed([event], strip=False)
    assert (scanner.events, scanner.malformed) == (1, False)


def test_a_crlf_split_over_chunks_is_one_line_end():
    chunks = [b"data: {}\r", b"\n\r", b"\ndata: [DONE]\r\n\r\n"]
    out, scanner = passed(chunks, strip=True)
    assert out == b"".join(chunks)
    assert (scanner.events, scanner.done) == (2, True)


def test_done_inside_an_answer_is_not_the_end():
    _, scanner = passed([as_event('{"choices":[{"delta":{"content":"data: [DONE]\\n\\n"}}]}')], strip=False)
    assert not scanner.done


def test_it_knows_when_the_stream_stands_inside_an_event():
    scanner = Scanner(strip_usage=False)
    scanner.feed(b"data: {}\n\ndata: {")
    assert scanner.inside
    scanner.feed(b"}\n\n")
    assert not scanner.inside


def test_an_error_event_is_seen_and_an_answer_about_errors_is_not():
    assert passed([as_event('{"error": {"message": "x"}}')], strip=False)[1].error
    assert not passed([as_event('{"choices": [], "error": null}')], strip=False)[1].error
    assert not passed([as_event('{"choices": [{"delta": {"content": "\\"error\\": 1"}}]}')], strip=False)[1].error


def test_an_endless_event_passes_without_being_kept():
    scanner = Scanner(strip_usage=True)
    sent = sum(len(scanner.feed(b"x" * 2**20)) for _ in range(16))
    assert sent >= 12 * 2**20
    assert len(scanner.rest()) <= 4 * 2**20 + 2**20


@pytest.mark.parametrize("behind", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("strip", [True, False])
def test_the_end_s_mark_needs_no_empty_line_behind_it(*, behind: bytes, strip: bool):
    sent = as_event('{"choices":[]}') + b"data: [DONE]" + behind
    scanner = Scanner(strip_usage=strip)
    out = scanner.feed(sent)
    assert not scanner.done
    scanner.ended()
    assert (scanner.done, out + scanner.rest()) == (True, sent)


def test_what_is_cut_inside_an_event_is_no_end():
    scanner = Scanner(strip_usage=False)
    scanner.feed(as_event('{"choices":[]}') + b'data: {"choices":[{"delta":{"content":"[DONE]')
    scanner.ended()
    assert not scanner.done


def test_a_stream_may_begin_with_a_byte_order_mark():
    out, scanner = passed([b"\xef\xbb\xbf", as_event('{"choices":[{}],"usage":null}')], strip=True)
    assert (out, scanner.events) == (b"\xef\xbb\xbf" + as_event('{"choices":[{}]}'), 1)


def test_data_lines_are_joined():
    assert data_of(b"event: a\ndata: 1\r\ndata:2\n\n") == b"1\n2"
    assert data_of(b": comment\n\n") is None


def test_an_error_body_is_told_from_an_answer():
    assert is_error(b'{"error": {"message": "x"}}')
    assert not is_error(b'{"choices": [], "error": null}')
    assert not is_error(b"[")
