"""Rows as they came: the record that is read from one is the record that would have been written."""

import json
from collections.abc import Mapping
from copy import deepcopy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.redact import Redactor
from tests.tutelage.capture.raws import CHAT, FULL, JSON, SSE, attempt, exchange, shadow, sse
from tutelage.capture.raw import RawExchange, RawPolicy, RawShadow
from tutelage.capture.spooled import pack, read_spooled, row_of, unpacked
from tutelage.capture.translate import Context, capture_exchange, capture_shadow, harmless
from tutelage.contracts.prices import Price
from tutelage.contracts.pseudonyms import Pseudonyms
from tutelage.contracts.records import Feedback, ShadowAttempt, encode

PSEUDONYMS = Pseudonyms(bytes(range(32)))
CONTEXT = Context(
    gateway="gw",
    pseudonyms=PSEUDONYMS,
    redact=Redactor(PSEUDONYMS).redact,
    price=lambda _, usage, __: None if usage is None else Price(nusd=usage.prompt or 0, version="v1"),
)
SEQUENCE = 7
CHOICES = [
    {"index": 1, "message": {"role": "assistant", "content": "two"}, "finish_reason": "length"},
    {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}},
]
COMPLETION = {"choices": [{"index": 0, "text": "done", "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
LINES = (*JSON, (b"set-cookie", b"session=1"), (b"openai-model", b"m"), (b"request-id", b"r"), (b"x-request-id", b"2"))


def as_it_came(raw: RawExchange | RawShadow) -> bytes | None:
    packed = pack(deepcopy(raw))  # what is packed is not used any more
    return None if packed is None else row_of(packed, SEQUENCE, CONTEXT)


def translated(raw: RawExchange | RawShadow):
    if isinstance(raw, RawShadow):
        return capture_shadow(raw, harmless(CONTEXT)).record
    return capture_exchange(raw, SEQUENCE, harmless(CONTEXT)).record


PLAIN: Mapping[str, RawExchange | RawShadow] = {
    "an answer": exchange(),
    "in pieces": exchange(attempt([b'{"choices"', b":[]}"])),
    "choices out of order": exchange(attempt(json.dumps({"choices": CHOICES}).encode())),
    "a completion": exchange(attempt(json.dumps(COMPLETION).encode()), endpoint="completions", body=b'{"prompt":"Say"}'),
    "embeddings": exchange(attempt(b'{"data":[],"usage":{"prompt_tokens":2}}'), endpoint="embeddings", body=b'{"input":"a"}'),
    "no usage": exchange(attempt(b'{"choices":[]}')),
    "what cannot be read": exchange(attempt(b'{"choices":1}')),
    "an error inside": exchange(attempt(b'{"error":{"message":"no"}}')),
    "many headers": exchange(attempt(headers=LINES)),
    "a long header": exchange(attempt(headers=((b"x-request-id", b"r" * 2_000),))),
    "slices and causes": exchange(slices={"lang": "de"}, cause="connect", successor="heir@1", overhead_ms=None),
    "all that it asked": exchange(body=b'{"model":"m","metadata":{"a":1},"store":false,"messages":[]}'),
    "lone surrogates": exchange(attempt(b'{"choices":[]}'), body=b'{"messages":[{"role":"user","content":"\\ud800"}]}'),
    "redaction that found nothing": exchange(policy=replace(FULL, redact=frozenset({"secrets", "contact"}))),
    "a shadow": shadow(attempt()),
}  # fmt: skip
TRANSLATED: Mapping[str, RawExchange | RawShadow] = {
    "two calls": exchange(attempt([], error="connect", status=None), attempt(purpose="retry")),
    "a stream": exchange(attempt(sse([{"choices": []}]), headers=SSE)),
    "a stream by its bytes": exchange(attempt(sse([{"choices": []}]), headers=())),
    "a person": exchange(body=b'{"messages":[],"user":"bob"}'),
    "a person's cache key": exchange(body=b'{"messages":[],"prompt_cache_key":"bob"}'),
    "metadata only": exchange(policy=RawPolicy(log="metadata", train=True, purpose=None)),
    "responses": exchange(endpoint="responses"),
    "a client that left": exchange(client_gone=True),
    "a broken answer": exchange(truncated=True),
    "an error status": exchange(attempt(b'{"error":{}}', status=400)),
    "no answer": exchange(attempt([], status=None, error="connect")),
    "an answer that was too large": exchange(attempt([], overflow=True)),
    "an answer that is no JSON": exchange(attempt(b"<html>")),
    "a request that is no JSON": exchange(body=b"x"),
    "a request that is nested too deeply": exchange(body=b'{"x":' + b"[" * 300 + b"]" * 300 + b"}"),
    "a request without its body": exchange(body=b""),
    "a shadow call that was not made": shadow(None, lost="shutdown"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_record_is_the_one_that_would_have_been_written(name: str):
    raw = PLAIN[name]
    row = as_it_came(raw)
    assert row is not None
    assert read_spooled(row) == translated(raw)


@pytest.mark.parametrize("name", TRANSLATED)
def test_what_must_be_changed_first_is_not_written_as_it_came(name: str):
    assert as_it_came(TRANSLATED[name]) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["messages", "prompt", "input", "user", "choices", "usage", "error", "index", "message", "content", "role"]
)


@given(asked=st.dictionaries(FIELDS, VALUES, max_size=4), said=st.dictionaries(FIELDS, VALUES, max_size=4))
def test_it_is_for_bodies_of_any_shape(asked: dict[str, object], said: dict[str, object]):
    raw = exchange(attempt(json.dumps(said).encode()), body=json.dumps(asked).encode())
    row = as_it_came(raw)
    assert row is None or encode(read_spooled(row)) == encode(translated(raw))


def test_a_row_holds_no_key_of_a_session_and_no_header_that_records_do_not_keep():
    row = as_it_came(exchange(attempt(headers=LINES), sticky_key="session-canary"))
    assert row is not None
    assert b"session-canary" not in row
    assert b"session=1" not in row
    assert CHAT in row


def test_what_was_packed_comes_out_as_it_was():
    raw = exchange(attempt([b'{"choices"', b":[]}"], headers=LINES))
    packed = pack(deepcopy(raw))
    assert packed is not None
    assert translated(unpacked(packed)) == translated(raw)


def test_text_that_is_none_is_left_to_the_translation_with_its_session():
    raw = exchange(slices={"lang": "\ud800"}, sticky_key="session")
    assert pack(raw) is None
    assert raw.sticky_key == "session"


def test_what_was_translated_is_read_as_json():
    feedback = Feedback(id="f", exchange_id="e", tenant="t", type="thumb", value=1, at=1.0)
    assert read_spooled(encode(feedback)) == feedback
    assert isinstance(read_spooled(encode(translated(shadow(attempt())))), ShadowAttempt)


@pytest.mark.parametrize("body", [b"", b"{", b"\x93\xa2gw\x07", b"\xff" * 9, b'{"kind":"other"}'])
def test_a_damaged_row_says_so(body: bytes):
    with pytest.raises(msgspec.DecodeError):
        read_spooled(body)
