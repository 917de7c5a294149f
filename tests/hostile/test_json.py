"""Bodies that nobody should send: a clear 400 where they cannot be read, untouched where they are not ours to refuse."""

from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import web

from gateway.connection import LINGER_BYTES
from tests.gateway.model_server import Asked, completion, plain
from tests.hostile.target import CANARY, CHAT, Target
from tests.hostile.wire import assert_refused, say

pytestmark = pytest.mark.anyio

MB, GB = 2**20, 2**30
DEEP = b"[" * 100_000 + b"]" * 100_000
PATHS = (CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses")

UNREADABLE: Mapping[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "string": b'"model"',
    "number": b"1",
    "null": b"null",
    "array": b"[]",
    "cut": b'{"model": "chat", "messages": [',
    "two documents": b'{"model":"chat"}{"model":"chat"}',
    "text behind it": b'{"model":"chat"} x',
    "trailing comma": b'{"model":"chat",}',
    "comment": b'{"model":"chat"/* x */}',
    "single quotes": b"{'model':'chat'}",
    "form": b"model=chat",
    "byte order mark": b'\xef\xbb\xbf{"model":"chat"}',
    "UTF-16": '{"model":"chat"}'.encode("utf-16"),
    "UTF-32": '{"model":"chat"}'.encode("utf-32"),
    "no text in a value": b'{"model":"chat","messages":"\xff"}',
    "no text beside a surrogate": b'{"model":"chat","messages":"\\ud800\xff"}',
    "a surrogate's bytes": b'{"model":"chat","messages":"\xed\xa0\x80"}',
    "deep": b'{"model":"chat","messages":' + DEEP + b"}",
    "deep, open": b'{"model":"chat","messages":' + b"[" * 1_000_000,
    "deep at the top": DEEP,
    "deep beside a surrogate": b'{"model":"chat","user":"\\ud800","messages":' + DEEP + b"}",
    "NaN": b'{"model":"chat","temperature":NaN}',
    "Infinity": b'{"model":"chat","temperature":-Infinity}',
    "control character": b'{"model":"ch\x00at"}',
    "line end in a string": b'{"model":"chat","user":"a\nb"}',
    "no model": b'{"messages":[]}',
    "model is null": b'{"model":null}',
    "model is empty": b'{"model":""}',
    "model is a number": b'{"model":1e400}',
    "model is an object": b'{"model":{"a":"chat"}}',
    "model is long": b'{"model":"' + CANARY.encode() * 1_000 + b'"}',
    "model twice": b'{"model":"chat","model":"kept"}',
    "model twice, escaped": b'{"model":"chat","mod\\u0065l":"kept"}',
    "stream is a string": b'{"model":"chat","stream":"yes"}',
    "stream is a number": b'{"model":"chat","stream":1}',
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_is_a_400(target: Target, name: str):
    asked = len(target.upstream.asked)
    assert_refused(await target.post(UNREADABLE[name]), 400)
    assert len(target.upstream.asked) == asked
    await target.assert_serves()


@pytest.mark.parametrize("path", PATHS)
async def test_every_endpoint_reads_as_strictly(target: Target, path: str):
    for name in ("empty", "array", "deep", "NaN", "UTF-16", "model twice", "model is long"):
        assert_refused(await target.post(UNREADABLE[name], path=path), 400)


@pytest.mark.parametrize(
    "model", ["nothing", "http://169.254.169.254/", "../../etc/passwd", "judge:big", "big", "{{7*7}}", "%00", "\\ud800"]
)
async def test_a_name_that_is_no_routes_is_a_404(target: Target, model: str):
    asked = len(target.upstream.asked)
    assert_refused(await target.post(b'{"model":"%b","messages":[]}' % model.encode()), 400, 404)
    assert len(target.upstream.asked) == asked


PASSED: Mapping[str, bytes] = {
    "5,000 digits": b'"n":' + b"9" * 5_000,
    "a billion answers": b'"n":1000000000',
    "a number beyond any float": b'"temperature":1e999999',
    "lone surrogate": b'"messages":[{"role":"user","content":"\\udfff"}]',
    "NUL": b'"messages":[{"role":"user","content":"\\u0000"}],"user":"\\u0000"',
    "control characters": b'"messages":[{"role":"user","content":"\\u001b[2J\\u202e\\u2028"}]',
    "everything is a number": b'"messages":7,"tools":7,"response_format":7,"max_tokens":"x","stream_options":7',
    "everything is null": b'"messages":null,"tools":null,"response_format":null,"max_tokens":null,"stream":null',
    "a field twice": b'"user":"a","user":"b"',
    "an empty name": b'"":1',
    "a long name": b'"' + b"x" * 100_000 + b'":1',
    "100,000 names": b",".join(b'"x%d":1' % number for number in range(100_000)),
}


@pytest.mark.parametrize("name", PASSED)
async def test_what_is_not_ours_to_refuse_reaches_the_upstream(target: Target, name: str):
    async def script(_: Asked) -> web.Response:
        return plain(completion("fine"))

    with target.answering(script):
        answer = await target.post(b'{"model":"chat",%b}' % PASSED[name])
    assert answer.status == 200, answer
    assert target.upstream.asked[-1].body.startswith(b'{"model":"big-1",')
    await target.assert_serves()


async def test_a_million_messages_are_one_request(target: Target):
    answer = await target.post(b'{"model":"chat","messages":[' + b"{}," * 999_999 + b"{}]}")
    assert answer.status == 200
    await target.assert_serves()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_gigabyte_is_refused_early_and_kept_nowhere(target: Target, framing: str):
    await target.captured()
    before = target.memory_bytes()

    async def request() -> AsyncIterator[bytes]:
        how = b"content-length: %d" % GB if framing == "length" else b"transfer-encoding: chunked"
        head = b"POST %s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n%b\r\n\r\n"
        yield head % (CHAT.encode(), target.keys.data.encode(), how)
        part = b"x" * MB if framing == "length" else b"100000\r\n" + b"x" * MB + b"\r\n"
        for _ in range(GB // MB):
            yield part

    answer = await say(target.port, request(), within_s=30)
    assert_refused(answer, 413)
    assert answer.sent < 2 * LINGER_BYTES  # beside what is read away, the system holds some
    assert target.memory_bytes() - before < 128 * MB
    await target.assert_serves()
