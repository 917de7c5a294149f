"""The request's top level: read, edited, otherwise left as it was spelled; headers filtered both ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire import (
    client_id,
    encode_fields,
    inject_usage,
    read_body,
    to_client,
    to_upstream,
    value_of,
    with_model,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(max_size=8).filter(lambda name: name not in {"model", "stream"})


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", **fields}).encode()


@given(st.dictionaries(names, values, max_size=6), st.booleans())
def test_only_the_model_changes(fields: dict[str, Any], escaped: bool):
    raw = json.dumps({"model": "m", **fields}, ensure_ascii=escaped).encode()
    read = read_body(raw)
    sent = encode_fields(with_model(read, "other"))
    assert list(read.fields) == ["model", *fields]
    assert {name: bytes(value) for name, value in read_body(sent).fields.items()} == {
        name: bytes(value) for name, value in read.fields.items()
    } | {"model": b'"other"'}


@pytest.mark.parametrize(
    "spelled", [b"9007199254740993", b"1.50", b"1E+2", b'"\\u00e9"', b'"\\ud800"', b"9" * 5000, b"[ 1,2 ]"]
)
def test_a_value_keeps_its_spelling(spelled: bytes):
    sent = encode_fields(with_model(read_body(b'{"model":"m", "x" : ' + spelled + b"}"), "n"))
    assert sent == b'{"model":"n","x":' + spelled + b"}"


def test_of_a_name_that_stands_twice_the_last_one_is_read_and_travels():
    read = read_body(b'{"model":"m","user":"a","user":"b"}')
    assert value_of(read.fields["user"]) == "b"
    assert encode_fields(read.fields) == b'{"model":"m","user":"b"}'


@pytest.mark.parametrize(
    "raw", [b'{"model":"a","model":"a"}', b'{"mod\\u0065l":"a","model":"b"}', b'{"model":"a","\\u006dodel":"b"}']
)
def test_a_second_model_is_refused_however_it_is_spelled(raw: bytes):
    with pytest.raises(BadRequest, match="twice"):
        read_body(raw)


def test_a_nested_model_is_no_second_one():
    assert read_body(b'{"model":"a","metadata":{"model":"b"},"messages":[{"model":"c"}]}').model == "a"


@pytest.mark.parametrize(
    ("given_options", "injected", "sent"),
    [
        (None, True, {"include_usage": True}),
        ({"include_usage": False}, True, {"include_usage": True}),
        ({"other": 1}, True, {"other": 1, "include_usage": True}),
        ({"include_usage": True}, False, {"include_usage": True}),
        ({"continuous_usage_stats": True}, False, {"continuous_usage_stats": True}),
        (7, False, 7),
    ],
)
def test_usage_is_asked_for_where_the_client_did_not(given_options: Any, injected: bool, sent: Any):
    fields = read_body(body(stream=True, stream_options=given_options)).fields
    assert inject_usage(fields) is injected
    assert json.loads(encode_fields(fields))["stream_options"] == sent


def test_headers_named_by_connection_and_our_own_do_not_travel():
    lines = [(b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"x-tutelage-log", b"off"), (b"user-agent", b"a")]
    assert to_upstream(lines) == [(b"user-agent", b"a")]


def test_an_upstreams_answer_loses_what_is_not_the_clients():
    lines = [
        (b"content-type", b"application/json"),
        (b"set-cookie", b"a"),
        (b"strict-transport-security", b"x"),
        (b"access-control-allow-origin", b"*"),
        (b"x-tutelage-arm", b"forged"),
        (b"retry-after-ms", b"5"),
        (b"openai-organization", b"o"),
        (b"x-bad", b"a\r\nb: c"),
    ]
    assert [name for name, _ in to_client(lines)] == [b"content-type", b"retry-after-ms", b"openai-organization"]


def test_what_connection_names_is_told_by_its_value_and_not_by_the_names_of_a_head():
    first = [(b"connection", b"x-one"), (b"x-one", b"1"), (b"x-two", b"2")]
    second = [(b"connection", b"X-Two"), *first[1:]]
    assert to_client(first) == [(b"x-two", b"2")]
    assert to_client(second) == [(b"x-one", b"1")]


@pytest.mark.parametrize(
    ("value", "kept"), [(b"abc-1._", True), (b"", False), (b"x" * 129, False), (b"a b", False), (b"a\nb", False)]
)
def test_a_clients_request_id_is_bounded(value: bytes, kept: bool):
    assert client_id({b"x-request-id": value}) == (value if kept else None)
