"""HTTP that nobody should send: a clear 4xx or the end of the connection, and nothing read as the request of another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.gateway.model_server import begun, completion, delta, plain
from tests.hostile.target import CHAT, Target
from tests.hostile.wire import assert_refused, connected, many_connected, post, say

pytestmark = pytest.mark.anyio
BODY = b'{"model":"chat","messages":[]}'
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
LENGTH = b"content-length: %d" % len(BODY)
KB = 1024


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def request(*lines: bytes, start: bytes = b"POST " + CHAT.encode() + b" HTTP/1.1", body: bytes = BODY) -> bytes:
    """Exactly these lines; `{key}` is where the good key goes."""
    return b"\r\n".join((start, b"authorization: Bearer {key}", *lines, b"", body))


HOST = b"host: gateway"
TE = b"transfer-encoding: chunked"
UNREADABLE: dict[str, bytes] = {
    # lengths and encodings that contradict each other
    "two lengths": request(HOST, LENGTH, b"content-length: 0"),
    "two lengths in one line": request(HOST, b"content-length: %d, 0" % len(BODY)),
    "length and chunked": request(HOST, LENGTH, TE, body=chunked(BODY)),
    "chunked and length": request(HOST, TE, b"content-length: 5", body=chunked(BODY)),
    "negative length": request(HOST, b"content-length: -5"),
    "signed length": request(HOST, b"content-length: +30"),
    "length in hex": request(HOST, b"content-length: 0x1e"),
    "length is a word": request(HOST, b"content-length: ten"),
    "length is empty": request(HOST, b"content-length:"),
    "length beyond any integer": request(HOST, b"content-length: " + b"9" * 40),
    "unknown encoding": request(HOST, b"transfer-encoding: xchunked", body=chunked(BODY)),
    "chunked is not last": request(HOST, b"transfer-encoding: chunked, identity", body=chunked(BODY)),
    # chunks
    "chunk size is no number": request(HOST, TE, body=b"zz\r\nx\r\n0\r\n\r\n"),
    "chunk size is negative": request(HOST, TE, body=b"-1\r\nx\r\n0\r\n\r\n"),
    "chunk size beyond any integer": request(HOST, TE, body=b"f" * 40 + b"\r\nx"),
    "chunk longer than its size": request(HOST, TE, body=b"1\r\nxyz\r\n0\r\n\r\n"),
    "chunk ends with LF": request(HOST, TE, body=b"1\nx\n0\n\n"),
    # header lines
    "no colon": request(HOST, b"nonsense"),
    "space before the colon": request(HOST, b"content-length : 30"),
    "space in the name": request(HOST, b"x y: 1", LENGTH),
    "name is empty": request(HOST, b": 1", LENGTH),
    "NUL in a name": request(HOST, b"x\x00: 1", LENGTH),
    "NUL in a value": request(HOST, b"x: a\x00b", LENGTH),
    "CR in a value": request(HOST, b"x: a\rb", LENGTH),
    "10,000 lines": request(HOST, *(b"x-%d: 1" % number for number in range(10_000)), LENGTH),
    "64 KiB in a line": request(HOST, b"x: " + b"x" * 64 * KB, LENGTH),
    "64 KiB in lines": request(HOST, *(b"x-%d: %b" % (number, b"x" * KB) for number in range(64)), LENGTH),
    "64 KiB in a name": request(HOST, b"x" * 64 * KB + b": 1", LENGTH),
    "100 KB of path": request(HOST, LENGTH, start=b"POST /" + b"x" * 100_000 + b" HTTP/1.1"),
    # request lines
    "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "no version": request(HOST, start=b"GET /v1/models"),
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": request(HOST, LENGTH, start=b"POST /v1/chat/completions HTTP/9.9"),
    "method of another protocol": request(HOST, LENGTH, start=b"M@IL /v1/models HTTP/1.1"),
    "lower case version": request(HOST, LENGTH, start=b"POST /v1/chat/completions http/1.1"),
    "space in the path": request(HOST, LENGTH, start=b"POST /v1/chat completions HTTP/1.1"),
}


async def test_what_works_is_the_measure(target: Target):
    """The same builder makes requests that are served: what is refused below is refused for what is wrong with it."""
    for sound in (request(HOST, LENGTH), request(HOST, TE, body=chunked(BODY[:5], BODY[5:]))):
        assert (await target.say(sound.replace(b"{key}", target.keys.data.encode()))).status == 200


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_is_a_400_and_the_end(target: Target, name: str):
    asked = len(target.upstream.asked)
    data = UNREADABLE[name].replace(b"{key}", target.keys.data.encode())
    async with connected(target.port) as (answers, writer):
        writer.write(data + SMUGGLED)
        answer = await answers.next()
        if answer.raw or name not in SILENT:
            assert_refused(answer, 400, 411, 413, 414, 431, 501, 505)
        assert b"HTTP/1.1" not in await answers.ended(), "nothing after it is read as a request"
    assert len(target.upstream.asked) == asked
    await target.assert_serves()


SILENT = frozenset({"HTTP/2", "HTTP/0.9"})
"""May be ended without a word: what speaks another protocol reads no answer of ours."""

REFUSED: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "CONNECT": (b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n", (400, 404, 405)),
    "TRACE": (b"TRACE %s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n" % CHAT.encode(), (405,)),
    "GET of what is posted": (
        b"GET %s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n" % CHAT.encode(),
        (405,),
    ),
    "PUT of a model": (request(HOST, LENGTH, start=b"PUT /v1/models/chat HTTP/1.1"), (405,)),
    "a path of nobody": (request(HOST, LENGTH, start=b"POST /v1/nothing HTTP/1.1"), (404,)),
    "OPTIONS of everything": (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", (401, 404, 405)),
    "a URL of another server": (b"GET http://169.254.169.254/v1/x HTTP/1.1\r\nhost: y\r\n\r\n", (401, 404)),
    "a path upwards": (b"GET /v1/../../etc/passwd HTTP/1.1\r\nhost: y\r\n\r\n", (401, 404)),
    "a path upwards, encoded": (b"GET /v1/models/%2e%2e%2f%2e%2e HTTP/1.1\r\nhost: y\r\n\r\n", (401, 404)),
    "compressed": (request(HOST, LENGTH, b"content-encoding: gzip"), (415,)),
    "compressed twice": (request(HOST, LENGTH, b"content-encoding: gzip, br"), (415,)),
    "text": (request(HOST, LENGTH, b"content-type: text/plain"), (415,)),
    "a form": (request(HOST, LENGTH, b"content-type: application/x-www-form-urlencoded"), (415,)),
    "a file": (request(HOST, LENGTH, b"content-type: multipart/form-data; boundary=x"), (415,)),
    "gzip as transfer": (request(HOST, b"transfer-encoding: gzip, chunked", body=chunked(BODY)), (400, 415, 501)),
    "no length": (request(HOST, body=b""), (400, 411)),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_done_is_refused(target: Target, name: str):
    asked = len(target.upstream.asked)
    data, statuses = REFUSED[name]
    answer = await target.say(data.replace(b"{key}", target.keys.data.encode()))
    assert_refused(answer, *statuses)
    assert target.keys.data.encode() not in answer.raw, "TRACE gives no header back"
    assert len(target.upstream.asked) == asked
    await target.assert_serves()


@pytest.mark.parametrize(
    "line",
    [
        b"host:",
        b"host: ../../x",
        b"host: a, b",
        b"host: evil.example",
        b"host: [::1]:x",
        b"x-forwarded-host: evil.example",
    ],
)
async def test_an_odd_host_changes_nothing(target: Target, line: bytes):
    answer = await target.post(BODY, line)
    assert answer.status in (200, 400)
    assert b"evil" not in answer.raw
    await target.assert_serves()


async def test_upgrades_are_not_made(target: Target):
    for protocol in (b"websocket", b"h2c"):
        answer = await target.post(BODY, b"connection: upgrade", b"upgrade: " + protocol, b"sec-websocket-key: eA==")
        assert answer.status in (200, 400, 426)


SPOOFED = (
    b"x-forwarded-for: 127.0.0.1", b"x-forwarded-host: evil", b"x-forwarded-proto: https", b"forwarded: for=127.0.0.1",
    b"x-real-ip: 127.0.0.1", b"via: 1.1 evil", b"x-tutelage-tenant: evil", b"x-tutelage-request-id: evil", b"cookie: a=evil",
    b"proxy-authorization: Basic evil", b"connection: x-hop", b"x-hop: evil", b"te: trailers", b"api-key: evil",
)  # fmt: skip


async def test_what_claims_to_come_from_a_proxy_goes_nowhere(target: Target):
    answer = await target.post(BODY, *SPOOFED)
    arrived = target.upstream.asked[-1].headers
    assert answer.status == 200
    assert "evil" not in repr(arrived)
    assert not {name for name in arrived if name.startswith(("x-forwarded", "x-tutelage", "forwarded"))}


async def test_expect_continue_is_answered_before_the_body(target: Target):
    head = post(CHAT, BODY, b"authorization: Bearer " + target.keys.data.encode(), b"expect: 100-continue")
    async with connected(target.port) as (answers, writer):
        writer.write(head[: -len(BODY)])
        assert (await answers.next()).status == 100
        writer.write(BODY)
        assert (await answers.next()).status == 200


async def test_expecting_something_else_is_no_crash(target: Target):
    answer = await target.post(BODY, b"expect: a-miracle")
    assert answer.status in (200, 417)


async def test_pipelined_requests_are_answered_in_their_order(target: Target):
    async def script(asked: Any) -> Any:
        await asyncio.sleep(0.05 if asked.json["user"] == "0" else 0)
        return plain(completion(asked.json["user"]))

    authorization = b"authorization: Bearer " + target.keys.data.encode()
    with target.answering(script):
        async with connected(target.port) as (answers, writer):
            for number in range(4):
                writer.write(post(CHAT, b'{"model":"chat","messages":[],"user":"%d"}' % number, authorization))
            said = [(await answers.next()).body for _ in range(4)]
    assert [body.count(b'"content": "%d"' % number) for number, body in enumerate(said)] == [1, 1, 1, 1]


async def test_nonsense_behind_a_request_ends_the_connection_after_its_answer(target: Target):
    async with connected(target.port) as (answers, writer):
        writer.write(post(CHAT, BODY, b"authorization: Bearer " + target.keys.data.encode()))
        first = await answers.next()
        writer.write(b"NONSENSE\r\n\r\n" + SMUGGLED)
        second = await answers.next()
        assert await answers.ended() == b""
    assert first.status == 200
    assert_refused(second, 400)


async def test_nonsense_behind_a_request_puts_nothing_into_its_answer(target: Target):
    """The second request comes while the first is being answered."""
    half = asyncio.Event()

    async def script(asked: Any) -> Any:
        response = await begun(asked)
        await response.write(delta("first"))
        half.set()
        await asyncio.Event().wait()

    body = b'{"model":"chat","stream":true,"messages":[]}'
    with target.answering(script):
        async with connected(target.port) as (answers, writer):
            writer.write(post(CHAT, body, b"authorization: Bearer " + target.keys.data.encode()))
            await half.wait()
            writer.write(b"NONSENSE\r\n\r\n" + SMUGGLED)
            said = await answers.next(0.5)
    assert said.raw.count(b"HTTP/1.1") <= 1
    assert not said.complete or said.error
    await target.assert_at_base()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_an_upstreams_redirect_is_not_followed_and_not_told(target: Target, status: int):
    async def script(asked: Any) -> Any:
        return plain(b"{}", status, location="http://169.254.169.254/latest/meta-data")

    asked = len(target.upstream.asked)
    with target.answering(script):
        answer = await target.post(BODY)
    assert (answer.status, answer.error["code"]) == (502, f"upstream_status_{status}")
    assert b"169.254" not in answer.raw
    assert len(target.upstream.asked) == asked + 1


# --- slowness ---------------------------------------------------------------------------------------------------------


async def test_slow_heads_keep_nobody_waiting(target: Target):
    async with many_connected(target.port, 200) as slow:
        for number, writer in enumerate(slow):
            writer.write(b"POST %s HTTP/1.1\r\nx-slow: " % CHAT.encode() if number % 2 else b"P")
        await asyncio.gather(*(target.assert_serves() for _ in range(20)))
    await target.assert_at_base()


async def test_bodies_that_never_come_leave_nothing_when_their_clients_go(target: Target):
    authorization = b"authorization: Bearer " + target.keys.data.encode()
    async with many_connected(target.port, 100) as slow:
        for writer in slow:
            writer.write(post(CHAT, BODY, authorization, b"content-length: 1000000"))
        await asyncio.gather(*(target.assert_serves() for _ in range(20)))
    await target.assert_at_base()


@pytest.mark.nightly
@pytest.mark.parametrize("start", [b"", b"P", b"POST %s HTTP/1.1\r\n" % CHAT.encode()])
async def test_a_head_that_does_not_come_is_given_up(target: Target, start: bytes):
    async with connected(target.port) as (answers, writer):
        writer.write(start)
        await answers.ended(60)


async def test_a_body_in_a_hundred_thousand_pieces_is_one_body(target: Target):
    async def pieces() -> AsyncIterator[bytes]:
        body = b'{"model":"chat","messages":[{"role":"user","content":"' + b"x" * 20_000 + b'"}]}'
        authorization = b"authorization: Bearer " + target.keys.data.encode()
        yield b"POST %s HTTP/1.1\r\nhost: x\r\n%b\r\n%b\r\n\r\n" % (CHAT.encode(), authorization, TE)
        yield b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    assert (await say(target.port, pieces())).status == 200
    assert len(target.upstream.asked[-1].body) > 20_000
