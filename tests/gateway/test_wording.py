"""Errors keep the upstream's words, but for its key, its address and what it says of the key."""

import json

import pytest

from gateway.wording import REFUSED, Wording

SAID = Wording([b"sk-of-the-upstream", b"10.0.0.7:8000", b"EMPTY"])


def error(message: str, **more: object) -> bytes:
    return json.dumps({"error": {"message": message, "type": "x", "param": None, "code": None, **more}}).encode()


def test_keys_and_addresses_are_left_out_of_any_text():
    assert SAID.plain(b"at 10.0.0.7:8000 with sk-of-the-upstream") == b"at upstream with upstream"


def test_what_servers_want_for_a_key_and_nobody_guards_is_a_word():
    assert SAID.plain(b"an EMPTY list") == b"an EMPTY list"


@pytest.mark.parametrize("body", [error("too long"), b"not json", b"[]", b'{"error":"text"}', b"\xff{", b"{" * 5_000])
def test_everything_else_stays_byte_for_byte(body: bytes):
    assert SAID.body(body) == body


@pytest.mark.parametrize("told", [{"code": "invalid_api_key"}, {"code": 401}, {"type": "authentication_error"}])
def test_what_is_said_of_a_key_is_not_the_clients_to_read(told: dict[str, object]):
    said = json.loads(SAID.body(error("Incorrect API key provided: sk-secr***t", **told)))["error"]
    assert said == {"message": REFUSED, "type": "x", "param": None, "code": None, **told}


def test_in_a_stream_only_the_error_is_put_into_other_words():
    before, after = (
        b': hi\r\n\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\n',
        b"\r\n\r\ndata: [DONE]\r\n\r\n",
    )
    said = SAID.events(before + b"event: error\r\ndata:" + error("sk-secr***t", code=401) + after)
    assert said.startswith(before + b"event: error\r\ndata:{")
    assert said.endswith(after)
    assert REFUSED.encode() in said
    assert b"sk-secr" not in said


def test_an_error_of_responses_says_it_in_two_places():
    event = {"type": "error", "code": "invalid_api_key", "message": "sk-secr***t", "sequence_number": 3}
    said = SAID.events(b"data: %b\n\n" % json.dumps(event).encode())
    assert json.loads(said[6:]) == {**event, "message": REFUSED}
