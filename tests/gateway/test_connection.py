"""HTTP/1.1 as clients meet it, on raw sockets: order, bounds, refusals before the body, hang-ups, back-pressure, the end."""

import asyncio
import gc
import json
import resource
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import connection as bounds
from gateway import server as ticks
from gateway.connection import Connection
from gateway.request import BodyTooLong, BodyTooSlow, Disconnected, Request
from gateway.server import Server, client_connections, listen, serving
from tests.gateway.harness import PATIENCE_S, until

Handler = Callable[[Request], Awaitable[None]]
GET = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n"
LIMIT = 1_000_000


def post(body: bytes, *lines: bytes) -> bytes:
    head = [b"POST /x HTTP/1.1", b"host: h", b"content-length: %d" % len(body), *lines, b"", b""]
    return b"\r\n".join(head) + body


async def echo(request: Request) -> None:
    """Answer with method, path and body."""
    body = await request.body(LIMIT)
    request.respond(200, [(b"content-type", b"text/plain")], f"{request.method} {request.path} ".encode() + body)


class Wire:
    """A client that sees bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """The next answer, its body whole."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head[:-4].split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in lines)
            if fields.get(b"transfer-encoding") == b"chunked":
                pieces = []
                while size := int(await self.reader.readline(), 16):
                    pieces.append((await self.reader.readexactly(size + 2))[:-2])
                await self.reader.readline()
                body = b"".join(pieces)
            else:
                body = await self.reader.readexactly(int(fields.get(b"content-length", b"0")))
            return int(status.split()[1]), fields, body

    async def rest(self) -> bytes:
        """Everything until the server ends the connection."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()


@asynccontextmanager
async def served(handler: Handler = echo, most: int = sys.maxsize) -> AsyncIterator[Callable[[], Awaitable[Wire]]]:
    sock = listen("127.0.0.1:0")
    port = sock.getsockname()[1]
    opened: list[Wire] = []

    async def connect() -> Wire:
        opened.append(Wire(*await asyncio.open_connection("127.0.0.1", port)))
        return opened[-1]

    async with serving(Server(handler, most=most), sock):
        yield connect
        for wire in opened:
            wire.writer.close()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Every wait that begins after this is short. What is to be read before has all the time it takes on a busy machine."""

    def hurry() -> None:
        for name in ("HEAD_S", "BODY_IDLE_S", "KEEP_ALIVE_S", "LINGER_S"):
            monkeypatch.setattr(bounds, name, 0.05)
        monkeypatch.setattr(ticks, "TICK_S", 0.01)

    return hurry


# --- order ------------------------------------------------------------------------------------------------------------


async def test_a_connection_is_kept_for_the_next_request():
    async with served() as connect:
        wire = await connect()
        for body in (b"", b"one", b"x" * 200_000):
            wire.send(post(body))
            status, fields, answer = await wire.answer()
            assert (status, answer) == (200, b"POST /x " + body)
            assert b"connection" not in fields
            assert fields[b"date"].endswith(b"GMT")


async def test_clients_that_only_connect_do_not_take_the_files_of_upstreams_away():
    async with served(most=2) as connect:
        first, second, third = await connect(), await connect(), await connect()
        with suppress(ConnectionResetError):
            assert await third.rest() == b""
        second.writer.close()
        first.send(GET)
        assert (await first.answer())[0] == 200
    assert client_connections() < resource.getrlimit(resource.RLIMIT_NOFILE)[1] or client_connections() == sys.maxsize


async def test_what_is_pipelined_is_answered_in_order():
    all_sent = asyncio.Event()

    async def slowest_first(request: Request) -> None:
        if request.path == "/1":
            await all_sent.wait()
        request.respond(200, [], request.path.encode())

    async with served(slowest_first) as connect:
        wire = await connect()
        wire.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % number for number in range(1, 40)))
        await asyncio.sleep(0)
        wire.send(b"GET /40 HTTP/1.1\r\nhost: h\r\n\r\n")
        all_sent.set()
        assert [(await wire.answer())[2] for _ in range(40)] == [b"/%d" % number for number in range(1, 41)]


async def test_what_is_pipelined_behind_the_last_answer_is_not_asked_for():
    asked = 0

    async def last(request: Request) -> None:
        nonlocal asked
        asked += 1
        request.respond(200, [(b"connection", b"close")], b"the last")

    async with served(last) as connect:
        wire = await connect()
        wire.send(GET + GET)
        assert (await wire.answer())[2] == b"the last"
        assert await wire.rest() == b""
    assert asked == 1


async def test_one_task_answers_a_connection_and_ends_with_it():
    tasks: list[asyncio.Task[Any] | None] = []

    async def handler(request: Request) -> None:
        tasks.append(asyncio.current_task())
        await echo(request)

    async with served(handler) as connect:
        wire = await connect()
        for _ in range(2):
            wire.send(GET)
            await wire.answer()
        first, second = tasks
        assert first is not None
        assert first is second
        assert not first.done()
        wire.writer.close()
        await until(first.done)
    assert first.exception() is None


async def test_nobody_may_pipeline_without_end():
    async def never(request: Request) -> None:
        await asyncio.Event().wait()

    async with served(never) as connect:
        wire = await connect()
        wire.send(GET * 200)
        assert (await wire.answer())[0] == 400
        assert await wire.rest() == b""


async def test_a_chunked_body_is_read_and_its_trailer_is_not_a_header():
    async def names(request: Request) -> None:
        body = await request.body(LIMIT)
        request.respond(200, [], body + b",".join(name for name, _ in request.headers))

    async with served(names) as connect:
        wire = await connect()
        wire.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        wire.send(b"2;x=y\r\nde\r\n0\r\nlate: 1\r\n\r\n" + GET)
        assert (await wire.answer())[2] == b"abcdehost,transfer-encoding"
        assert (await wire.answer())[2] == b"host"


@given(st.lists(st.integers(0, 400), max_size=12))
def test_requests_read_the_same_however_the_network_cuts_them(cuts: list[int]):
    stream = post(b"first", b"x-a: 1") + GET + post(b"third" * 20) + GET
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    seen: list[tuple[str, bytes, int]] = []

    async def main() -> None:
        async def handler(request: Request) -> None:
            body = await request.body(LIMIT)
            seen.append((request.method, body, len(request.headers)))
            request.respond(200, [], b"")

        connection, transport = driven(handler)
        for start, end in pairwise(places):
            if start != end:
                connection.data_received(stream[start:end])
            await asyncio.sleep(0)
        await until(lambda: len(seen) == 4)
        assert transport.closed is False

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))
    assert seen == [("POST", b"first", 3), ("GET", b"", 1), ("POST", b"third" * 20, 2), ("GET", b"", 1)]


class FakeTransport(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def write_eof(self) -> None: ...


def driven(handler: Handler) -> tuple[Connection, FakeTransport]:
    transport = FakeTransport()
    connection = Connection(Server(handler), asyncio.get_running_loop())
    connection.connection_made(transport)
    return connection, transport


async def test_an_answer_that_is_whole_is_one_write_and_a_streams_head_leaves_with_its_first_bytes():
    async def handler(request: Request) -> None:
        if request.method == "GET":
            request.respond(200, [(b"content-type", b"text/plain")], b"whole")
            return
        request.begin(200, [])
        request.write(b"first")
        await until(lambda: bool(transport.written))
        request.write(b"second")
        request.end()

    connection, transport = driven(handler)
    connection.data_received(GET)
    await until(lambda: connection.idle and bool(transport.written))
    assert len(transport.written) == 1
    transport.written.clear()
    connection.data_received(post(b""))
    await until(lambda: connection.idle and len(transport.written) > 1)
    assert transport.written[0].endswith(b"\r\n\r\n5\r\nfirst\r\n")
    assert transport.written[1:] == [b"6\r\nsecond\r\n0\r\n\r\n"], "what is said in one turn is one write"


async def test_what_is_written_goes_out_with_the_next_turn_and_before_any_end():
    connection, transport = driven(echo)
    connection.send(b"one ")
    connection.send(b"two")
    assert transport.written == []
    await asyncio.sleep(0)
    assert transport.written == [b"one two"]
    connection.send(b"x" * (bounds.AT_ONCE_BYTES + 1))
    assert len(transport.written) == 2, "what is long is written at once: its reader may not keep up"
    connection.send(b"last words")
    connection.close()
    assert transport.written[2:] == [b"last words"]


async def test_nothing_is_written_to_a_client_that_left_in_this_turn():
    connection, transport = driven(echo)
    connection.send(b"lost")
    connection.connection_lost(None)
    connection.send(b"lost too")
    await asyncio.sleep(0)
    assert transport.written == []


# --- what is no HTTP/1.1 ----------------------------------------------------------------------------------------------

NO_HTTP = {
    "two lengths": b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunked": b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n",
    "length with a sign": b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +1\r\n\r\na",
    "encoding unknown": b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip\r\n\r\nabc",
    "chunked is not last": b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "bad chunk size": b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "chunk longer than it says": b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nhost : h\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nhost\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\nhost: h\r\n x: y\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nhost: h\x00\r\n\r\n",
    "bare CR in a value": b"GET / HTTP/1.1\r\nhost: h\rx: y\r\n\r\n",
    "201 headers": b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: 1\r\n" % number for number in range(201)) + b"\r\n",
    "10,000 headers": b"GET / HTTP/1.1\r\n" + b"a: 1\r\n" * 10_000 + b"\r\n",
    "a header of 70 kB": b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    "a target of 70 kB": b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n",
    "a trailer of 70 kB": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("1603010200010001fc0303") + b"\x00" * 100,
    "an unknown method": b"GETT / HTTP/1.1\r\n\r\n",
    "a version of its own": b"GET / HTTP/3.7\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NO_HTTP)
async def test_what_is_no_http_is_a_400_in_the_envelope_and_the_end(name: str):
    handled: list[Request] = []

    async def handler(request: Request) -> None:
        handled.append(request)
        await request.body(LIMIT)
        request.respond(200, [], b"")

    async with served(handler) as connect:
        wire = await connect()
        wire.send(NO_HTTP[name])
        status, fields, body = await wire.answer()
        assert status == 400, body
        assert json.loads(body)["error"]["code"] == "invalid_http"
        assert fields[b"connection"] == b"close"
        assert await wire.rest() == b""
        other = await connect()
        other.send(GET)
        assert (await other.answer())[0] == 200


async def test_an_upgrade_that_is_offered_is_not_taken_and_the_body_is_read():
    begun = asyncio.Event()

    async def handler(request: Request) -> None:
        begun.set()
        await echo(request)

    async with served(handler) as connect:
        wire = await connect()
        offer = (b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAEAAEAAAAIAAAAB")
        wire.send(post(b"hello", *offer))
        assert (await wire.answer())[2] == b"POST /x hello"
        wire.send(post(b"again"))
        assert (await wire.answer())[2] == b"POST /x again"
        whole = post(b"in pieces", *offer)
        begun.clear()
        wire.send(whole[:-4])
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        wire.send(whole[-4:])
        assert (await wire.answer())[2] == b"POST /x in pieces"


async def test_the_target_is_decoded_once_and_may_be_absolute():
    async def path(request: Request) -> None:
        request.respond(200, [], request.path.encode() + b" " + request.query)

    async with served(path) as connect:
        wire = await connect()
        for target, seen in (
            (b"/a%2Fb%2520?q=%2F", b"/a/b%20 q=%2F"),
            (b"http://h/v1/models?x", b"/v1/models x"),
            (b"/v1//x", b"/v1//x "),
        ):
            wire.send(b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n" % target)
            assert (await wire.answer())[2] == seen


async def test_http_1_0_gets_an_answer_that_ends_with_the_connection():
    async def stream(request: Request) -> None:
        request.begin(200, [])
        request.write(b"one ")
        request.end(b"two")

    async with served(stream) as connect:
        wire = await connect()
        wire.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body == b"one two"


async def test_http_1_0_knows_no_100_continue():
    async with served() as connect:
        wire = await connect()
        wire.send(b"POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi")
        assert (await wire.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_head_has_no_body_and_204_no_length():
    async def handler(request: Request) -> None:
        request.respond(204 if request.method == "DELETE" else 200, [], b"body")

    async with served(handler) as connect:
        wire = await connect()
        wire.send(b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\nDELETE / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        head, bodiless, rest = (await wire.rest()).split(b"\r\n\r\n")
        assert b"content-length: 4" in head
        assert bodiless.startswith(b"HTTP/1.1 204 No Content")
        assert b"content-length" not in bodiless
        assert rest == b""


# --- refused before the body ------------------------------------------------------------------------------------------


async def refuse(request: Request) -> None:
    request.respond(401, [], b"no")


async def test_a_refusal_is_seen_by_a_client_that_goes_on_sending():
    async with served(refuse) as connect:
        wire = await connect()
        wire.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 8000000\r\n\r\n" + b"x" * 100_000)
        status, fields, body = await wire.answer()
        assert (status, fields[b"connection"], body) == (401, b"close", b"no")
        wire.send(b"x" * 7_900_000)
        assert await wire.rest() == b""


async def test_a_refusal_is_seen_by_a_client_that_reads_when_it_has_written_all():
    body = b"x" * 40_000_000  # the largest request is 32 MB, as a rule

    def said(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            client.sendall(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return client.recv(1_000)

    async with served(refuse) as connect:
        port = (await connect()).writer.get_extra_info("peername")[1]
        assert (await asyncio.to_thread(said, port)).startswith(b"HTTP/1.1 401 ")


async def test_what_comes_behind_a_refusal_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch):
    """A client that says what it likes sees the refusal, then waits; what the sockets hold is all that it gets rid of."""
    monkeypatch.setattr(bounds, "LINGER_BYTES", 100_000)
    monkeypatch.setattr(bounds, "LINGER_S", 0.2)
    sent = 0

    async def send_on(wire: Wire) -> None:
        nonlocal sent
        with suppress(ConnectionError):
            for _ in range(1_000):
                wire.send(b"x" * 1_000_000)
                await wire.writer.drain()
                sent += 1_000_000

    async with served(refuse) as connect:
        wire = await connect()
        wire.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n")
        answered, _ = await asyncio.gather(wire.answer(), send_on(wire))
    assert answered[0] == 401
    assert sent < 20_000_000


async def test_where_little_is_left_of_a_refused_body_the_connection_is_kept():
    async with served(refuse) as connect:
        wire = await connect()
        whole = post(b"a small body")
        wire.send(whole[:-12])
        assert b"connection" not in (await wire.answer())[1]
        wire.send(whole[-12:] + GET)
        assert (await wire.answer())[0] == 401


async def test_100_continue_is_said_to_those_whose_body_is_wanted():
    expecting = b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    async with served() as connect:
        wire = await connect()
        wire.send(expecting)
        assert (await wire.answer())[0] == 100
        wire.send(b"hi")
        assert (await wire.answer())[2] == b"POST / hi"
    async with served(refuse) as connect:
        wire = await connect()
        wire.send(expecting)
        status, fields, _ = await wire.answer()
        assert (status, fields[b"connection"]) == (401, b"close")


async def test_a_body_beyond_its_readers_bound_is_told_at_once():
    told = asyncio.Event()

    async def handler(request: Request) -> None:
        with pytest.raises(BodyTooLong):
            await request.body(10)
        told.set()
        request.respond(413, [], b"")

    async with served(handler) as connect:
        wire = await connect()
        wire.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nb\r\n12345678901\r\n")
        assert (await wire.answer())[0] == 413
        assert told.is_set()


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"", b"GET / HT", GET + b"GET", GET])
async def test_who_sends_no_head_or_no_next_one_in_time_is_let_go(begun: bytes, hurry: Callable[[], None]):
    async def handler(request: Request) -> None:
        hurry()
        await echo(request)

    if not begun.startswith(GET):
        hurry()
    async with served(handler) as connect:
        wire = await connect()
        wire.send(begun)
        answers = await wire.rest()
    assert answers.count(b"HTTP/1.1 200") == begun.count(b"\r\n\r\n")


async def test_a_body_that_stops_is_told_to_its_reader(hurry: Callable[[], None]):
    async def handler(request: Request) -> None:
        hurry()
        with pytest.raises(BodyTooSlow):
            await request.body(LIMIT)
        request.respond(400, [], b"slow")

    async with served(handler) as connect:
        wire = await connect()
        wire.send(post(b"whole")[:-1])
        assert (await wire.answer())[2] == b"slow"
        assert await wire.rest() == b""


# --- hang-ups and back-pressure ---------------------------------------------------------------------------------------


def until_gone() -> tuple[Handler, asyncio.Event, asyncio.Event]:
    """A handler that waits for the hang-up, and when it begins and hears of it."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        request.on_gone = gone.set
        begun.set()
        await gone.wait()

    return handler, begun, gone


@pytest.mark.parametrize("behind", [b"", GET])
async def test_a_hang_up_is_told_at_once_also_behind_a_pipelined_request(behind: bytes):
    handler, begun, gone = until_gone()
    async with served(handler) as connect:
        wire = await connect()
        wire.send(GET + behind)
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        assert not gone.is_set()
        wire.writer.transport.abort()
        await asyncio.wait_for(gone.wait(), PATIENCE_S)


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("behind", [post(b"x" * 200_000), GET * 5_000])
async def test_a_hang_up_behind_more_than_is_read_is_told_as_well(behind: bytes, how: str):
    handler, begun, gone = until_gone()
    async with served(handler) as connect:
        wire = await connect()
        wire.send(GET)
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        wire.send(behind)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gone.wait(), 2 * bounds.LOOK_S + ticks.TICK_S)
        if how == "end":
            await wire.writer.drain()
            wire.writer.close()
        else:
            wire.writer.transport.abort()
        await asyncio.wait_for(gone.wait(), PATIENCE_S)


async def test_what_is_pipelined_beyond_what_is_read_is_served_in_its_turn():
    go_on = asyncio.Event()

    async def patient(request: Request) -> None:
        if request.method == "GET":
            await go_on.wait()
        await echo(request)

    async with served(patient) as connect:
        wire = await connect()
        wire.send(GET + post(b"x" * 500_000) + GET)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.answer(), 2 * bounds.LOOK_S + ticks.TICK_S)
        go_on.set()
        assert [len((await wire.answer())[2]) for _ in range(3)] == [7, 500_008, 7]


async def test_of_a_client_that_is_not_read_the_system_holds_little_however_fast_it_was_read_before():
    begun, go_on = asyncio.Event(), asyncio.Event()
    carriers = list[Any]()

    async def large(request: Request) -> None:
        carriers.append(request._connection)
        await request.body(100_000_000)
        begun.set()
        await go_on.wait()
        request.respond(200, [], b"")

    async with served(large) as connect:
        wire = await connect()
        wire.send(post(b"x" * 50_000_000))
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        (carrier,) = carriers
        wire.send(GET * 100_000)
        await until(lambda: carrier._paused)
        sock = carrier._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * bounds.UNREAD_BYTES
        go_on.set()
        wire.writer.transport.abort()


async def test_a_reader_of_a_body_learns_that_the_client_is_gone():
    begun, learned = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        begun.set()
        with pytest.raises(Disconnected):
            await request.body(LIMIT)
        learned.set()

    async with served(handler) as connect:
        wire = await connect()
        wire.send(post(b"whole")[:-1])
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        assert not learned.is_set()
        wire.writer.close()
        await asyncio.wait_for(learned.wait(), PATIENCE_S)


async def test_who_does_not_read_is_not_written_to_without_end():
    piece, written, full = b"x" * 50_000, 0, asyncio.Event()
    pieces = 600  # more than the kernel's buffers hold on both sides

    async def handler(request: Request) -> None:
        nonlocal written
        request.begin(200, [])
        for _ in range(pieces):
            written += len(piece)
            if not request.write(piece):
                full.set()
                await request.room()
        request.end()

    async with served(handler) as connect:
        wire = await connect()
        wire.send(GET)
        await asyncio.wait_for(full.wait(), PATIENCE_S)
        assert written < len(piece) * pieces
        assert len((await wire.answer())[2]) == len(piece) * pieces
        again = await connect()
        full.clear()
        again.send(GET)
        await asyncio.wait_for(full.wait(), PATIENCE_S)
        again.writer.transport.abort()  # the writer must not wait for it for ever: leaving the block would not end


# --- handlers that fail, servers that end -----------------------------------------------------------------------------


async def test_a_header_that_would_be_two_is_not_sent():
    async def handler(request: Request) -> None:
        with pytest.raises(ValueError, match="line break"):
            request.respond(200, [(b"x", b"a\r\nset-cookie: b")], b"")

    async with served(handler) as connect:
        wire = await connect()
        wire.send(GET)
        assert await wire.rest() == b""


async def test_a_server_that_stops_lets_answers_end_and_idle_connections_go():
    going, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        if request.method == "POST":
            going.set()
            await go_on.wait()
        request.respond(200, [], b"done")

    async def drain() -> None:
        go_on.set()
        await asyncio.sleep(0)

    sock = listen("127.0.0.1:0")
    server = Server(handler, drain)
    async with serving(server, sock):
        idle = Wire(*await asyncio.open_connection(*sock.getsockname()))
        idle.send(GET)
        await idle.answer()
        busy = Wire(*await asyncio.open_connection(*sock.getsockname()))
        busy.send(post(b""))
        await going.wait()
    status, fields, body = await busy.answer()
    assert (status, fields[b"connection"], body) == (200, b"close", b"done")
    assert (await idle.rest(), await busy.rest()) == (b"", b"")
    for wire in (idle, busy):
        wire.writer.close()
    assert server.connections == 0


async def test_lost_connections_wait_for_no_collector():
    """It comes seldom: what it alone could free would pile up with every connection."""
    gc.collect()
    gc.disable()
    try:
        async with served() as connect:
            for _ in range(5):
                wire = await connect()
                wire.send(post(b"body", b"connection: close"))
                await wire.rest()
                idle = await connect()
                idle.send(post(b"body"))
                await idle.answer()
                idle.writer.close()
            await until(lambda: not any(isinstance(each, Connection) for each in gc.get_objects()))
    finally:
        gc.enable()
