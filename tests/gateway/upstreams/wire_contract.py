"""What upstreams that relay bytes over `HttpPool`s must keep besides: framing, keep-alive, back-pressure, limits."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.upstreams.base import ConnectFailed, ReplyBroken, TimedOut, UpstreamError
from gateway.upstreams.connection import MAX_HEAD_BYTES, MAX_UNREAD_BYTES, READ_BYTES
from tests.gateway.upstreams.contract import PATIENT, Contract, ask, body_of, call, content_of, echo, silent
from tests.gateway.upstreams.server import Exchange, eventually, head


class WireContract(Contract):
    """For upstreams that relay bytes over `HttpPool`s."""

    async def test_request_and_answer_travel_byte_for_byte(self):
        body = b'{"big":123456789012345678901234567890,"f":1.10,"s":"\\ud800 \xe2\x80\xa8","a":1,"a":2}\n'

        async def script(exchange: Exchange) -> None:
            await exchange.answer(exchange.body + b"\0\xff", headers=b"X-Odd:  a b\r\nx-empty:\r\nX-Odd: c\r\n")

        async with self.serving(script) as (upstream, server):
            reply = await upstream.open(replace(call(), body=body))
            assert await body_of(reply) == body + b"\0\xff"
            odd = [(name, value) for name, value in reply.headers if name in (b"x-odd", b"x-empty")]
            assert odd == [(b"x-odd", b"a b"), (b"x-empty", b""), (b"x-odd", b"c")]
            await reply.aclose()
            expected = {"host", "authorization", "content-type", "content-length"}
            assert set(server.requests[0].headers) == expected

    @pytest.mark.parametrize("status", [301, 307, 308])
    async def test_redirects_are_passed_and_not_followed(self, status: int):
        async def script(exchange: Exchange) -> None:
            await exchange.answer(b"", status=status, headers=b"location: http://127.0.0.1:1/\r\n")

        async with self.serving(script) as (upstream, server):
            assert await ask(upstream, call()) == (status, b"")
            assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("raw", "body"),
        [
            (head(200, b"content-length: 4\r\n") + b"four", b"four"),
            (head(200, b"content-length: 0\r\n"), b""),
            (head(204), b""),
            (
                head(200, b"transfer-encoding: chunked\r\n") + b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX-Trailer: t\r\n\r\n",
                b"abc",
            ),
            (head(100) + head(103, b"link: a\r\n") + head(200, b"content-length: 2\r\n") + b"ok", b"ok"),
        ],
    )
    async def test_framing_is_taken_off_and_the_connection_used_again(self, raw: bytes, body: bytes):
        async with self.serving(lambda exchange: exchange.send(raw)) as (upstream, server):
            for _ in range(2):
                assert (await ask(upstream, call()))[1] == body
            assert server.connections == 1

    async def test_framing_may_arrive_byte_by_byte(self):
        raw = head(103) + head(200, b"transfer-encoding: chunked\r\n") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

        async def script(exchange: Exchange) -> None:
            for byte in raw:
                await exchange.send(bytes([byte]))
                await asyncio.sleep(0)

        async with self.serving(script) as (upstream, server):
            assert (await ask(upstream, call()))[1] == b"abcde"
            assert (await ask(upstream, call()))[1] == b"abcde"
            assert server.connections == 1

    @pytest.mark.parametrize("headers", [b"", b"connection: close\r\n"])
    async def test_a_body_without_a_length_ends_with_the_connection(self, headers: bytes):
        async def script(exchange: Exchange) -> None:
            await exchange.send(head(200, headers) + b"until the end")
            exchange.close()

        async with self.serving(script) as (upstream, server):
            assert (await ask(upstream, call()))[1] == b"until the end"
            assert (await ask(upstream, call()))[1] == b"until the end"
            assert server.connections == 2

    @pytest.mark.parametrize(
        "raw",
        [
            head(200, b"content-length: 10\r\n") + b"half",
            head(200, b"transfer-encoding: chunked\r\n") + b"5\r\nhello\r\n",
            head(200, b"transfer-encoding: chunked\r\n") + b"5\r\nhel",
            head(200, b"connection: close\r\ncontent-length: 10\r\n") + b"half",
            b"HTTP/1.1 200 OK\r\ncontent-le",
        ],
    )
    async def test_a_connection_that_ends_early_never_looks_like_an_end(self, raw: bytes):
        async def script(exchange: Exchange) -> None:
            await exchange.send(raw)
            exchange.close()

        async with self.serving(script) as (upstream, server):
            with pytest.raises(ReplyBroken):
                await ask(upstream, call())
            assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "raw",
        [
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            head(101, b"upgrade: x\r\nconnection: upgrade\r\n"),
            head(200, b"content-length: 3\r\ncontent-length: 4\r\n") + b"abcd",
            head(200, b"content-length: 3\r\ntransfer-encoding: chunked\r\n") + b"abc",
            head(200, b"transfer-encoding: chunked\r\n") + b"zz\r\n",
            head(200, b"content-length: -1\r\n"),
        ],
    )
    async def test_what_is_not_http_breaks_the_reply_and_the_connection(self, raw: bytes):
        async def script(exchange: Exchange) -> None:
            await exchange.send(raw)
            await exchange.until_closed()

        async with self.serving(script) as (upstream, server):
            with pytest.raises(ReplyBroken):
                await ask(upstream, call())
            await eventually(lambda: server.closed == 1)

    @pytest.mark.parametrize(
        ("start", "endless"),
        [
            (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 4096),
            (b"HTTP/1.1 200 OK\r\n", b"x-many: values\r\n" * 256),
            (b"", head(102) * 256),
            (head(200, b"transfer-encoding: chunked\r\n") + b"1\r\na\r\n0\r\n", b"x-trailer: t\r\n" * 256),
        ],
    )
    async def test_an_endless_head_or_trailer_is_cut(self, start: bytes, endless: bytes):
        sent = 0

        async def script(exchange: Exchange) -> None:
            nonlocal sent
            await exchange.send(start)
            while True:
                await exchange.send(endless)
                sent += len(endless)

        async with self.serving(script) as (upstream, server):
            with pytest.raises(ReplyBroken, match=str(MAX_HEAD_BYTES)):
                await ask(upstream, call())
            await eventually(lambda: server.closed == 1)
            assert sent < 16 * 1024 * 1024

    async def test_a_huge_head_in_one_read_is_refused_and_a_long_body_after_a_short_one_is_not(self):
        async def script(exchange: Exchange) -> None:
            long = b"y" * (MAX_HEAD_BYTES + 1)
            if exchange.number == 0:
                await exchange.send(head(200, b"x: " + long + b"\r\ncontent-length: 2\r\n") + b"ok")
                await exchange.until_closed()
            await exchange.send(head(200, b"content-length: %d\r\n" % len(long)) + long)

        async with self.serving(script) as (upstream, _):
            with pytest.raises(ReplyBroken):
                await ask(upstream, call())
            assert len((await ask(upstream, call()))[1]) == MAX_HEAD_BYTES + 1

    async def test_one_connection_serves_call_after_call(self):
        async with self.serving(echo) as (upstream, server):
            for number in range(5):
                assert content_of((await ask(upstream, call(str(number))))[1]) == str(number)
            assert server.connections == 1

    @pytest.mark.parametrize(
        "raw",
        [
            head(200, b"connection: close\r\ncontent-length: 2\r\n") + b"ok",
            b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
            head(200, b"content-length: 2\r\n") + b"ok" + head(200, b"content-length: 5\r\n") + b"wrong",
            head(200, b"content-length: 2\r\n") + b"okgarbage",
            head(200, b"content-length: 2\r\n") + b"okHTTP/1.1 2",
        ],
    )
    async def test_a_connection_that_says_more_or_will_close_is_not_used_again(self, raw: bytes):
        async with self.serving(lambda exchange: exchange.send(raw)) as (upstream, server):
            for _ in range(3):
                assert (await ask(upstream, call()))[1] == b"ok"
            assert server.connections == 3

    async def test_bytes_that_come_between_calls_close_the_connection(self):
        late = asyncio.Event()

        async def script(exchange: Exchange) -> None:
            await exchange.answer(b"ok")
            if exchange.number == 0:
                await late.wait()
                await exchange.answer(b"nobody asked")

        async with self.serving(script) as (upstream, server):
            assert (await ask(upstream, call()))[1] == b"ok"
            late.set()
            await eventually(lambda: server.closed == 1)
            assert (await ask(upstream, call()))[1] == b"ok"

    @pytest.mark.parametrize("end", [Exchange.reset, Exchange.close])
    async def test_a_reused_connection_that_dies_unanswered_is_replaced_once(self, end: Any):
        async def script(exchange: Exchange) -> None:
            if exchange.on_connection:
                end(exchange)
            else:
                await exchange.answer(b"%d" % exchange.number)

        async with self.serving(script, max_connections=1) as (upstream, server):
            assert (await ask(upstream, call()))[1] == b"0"
            assert (await ask(upstream, call()))[1] == b"2"
            assert server.connections == 2

    async def test_a_new_connection_that_dies_unanswered_is_not_tried_again(self):
        async def script(exchange: Exchange) -> None:
            exchange.close()

        async with self.serving(script) as (upstream, server):
            with pytest.raises(ReplyBroken):
                await ask(upstream, call())
            assert len(server.requests) == 1

    async def test_a_reused_connection_that_dies_in_its_answer_is_not_tried_again(self):
        async def script(exchange: Exchange) -> None:
            if exchange.on_connection:
                await exchange.send(b"H")
                exchange.close()
            else:
                await exchange.answer(b"ok")

        async with self.serving(script) as (upstream, server):
            await ask(upstream, call())
            with pytest.raises(ReplyBroken):
                await ask(upstream, call())
            assert len(server.requests) == 2

    async def test_after_two_hundred_cancelled_calls_the_pool_is_at_its_base(self):
        hang = asyncio.Event()

        async def script(exchange: Exchange) -> None:
            if hang.is_set():
                await exchange.answer(b"ok")
            elif exchange.number % 3:
                await exchange.begin_chunked()
                await exchange.chunk(b"begun")
                await exchange.until_closed()
            else:
                await exchange.until_closed()

        async with self.serving(script, max_connections=10) as (upstream, server):
            tasks = [asyncio.create_task(ask(upstream, call())) for _ in range(200)]
            for turn, task in enumerate(tasks):
                if turn % 20 == 0:
                    await eventually(lambda: len(server.requests) > server.closed)
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert Counter(map(type, outcomes)) == {asyncio.CancelledError: 200}
            assert self.outstanding(upstream) == 0
            await eventually(lambda: server.closed == server.connections)
            assert self.open_connections(upstream) == 0
            hang.set()
            answers = await asyncio.gather(*(ask(upstream, call()) for _ in range(30)))
            assert answers == [(200, b"ok")] * 30
            assert self.open_connections(upstream) <= 10
            assert self.outstanding(upstream) == 0

    async def test_calls_beyond_the_bound_wait_for_a_connection(self):
        most = now = 0
        full = asyncio.Event()

        async def script(exchange: Exchange) -> None:
            nonlocal most, now
            now += 1
            most = max(most, now)
            if now == 3:
                full.set()
            await full.wait()
            now -= 1
            await exchange.answer(b"ok")

        async with self.serving(script, max_connections=3) as (upstream, server):
            assert await asyncio.gather(*(ask(upstream, call()) for _ in range(20))) == [(200, b"ok")] * 20
            assert most == 3
            assert server.connections == 3

    async def test_waiting_for_a_connection_ends_at_the_connect_deadline(self):
        async with self.serving(silent, max_connections=1) as (upstream, _):
            first = asyncio.create_task(upstream.open(call()))
            await eventually(lambda: self.open_connections(upstream) == 1)
            with pytest.raises(TimedOut) as fault:
                await upstream.open(call(deadlines=replace(PATIENT, connect_s=0.1)))
            assert fault.value.kind == "timeout_connect"
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first

    async def test_a_slow_reader_stops_the_server_and_loses_nothing(self):
        total = 16 * 1024 * 1024
        sent = 0

        async def script(exchange: Exchange) -> None:
            nonlocal sent
            sent = 0
            await exchange.send(head(200, b"content-length: %d\r\n" % total))
            while sent < total:
                await exchange.send(b"x" * 65536)
                sent += 65536

        async with self.serving(script) as (upstream, server):
            reply: Any = await upstream.open(call(deadlines=replace(PATIENT, idle_s=1)))
            await eventually(lambda: bool(reply.unread_bytes > MAX_UNREAD_BYTES))
            before = -1
            while before != sent:  # until the sockets' own buffers are full too
                before = sent
                for _ in range(50):
                    await asyncio.sleep(0)
            assert reply.unread_bytes <= MAX_UNREAD_BYTES + READ_BYTES
            assert sent < total
            assert reply._connection.deadline_at > asyncio.get_running_loop().time() + 5, (
                "the reader's pause is not idleness"
            )
            assert len(await body_of(reply)) == total
            await reply.aclose()
            assert len((await ask(upstream, call()))[1]) == total
            assert server.connections == 1

    async def test_a_long_request_arrives_whole(self):
        async def script(exchange: Exchange) -> None:
            await exchange.answer(b"%d" % len(exchange.body))

        async with self.serving(script) as (upstream, server):
            body = b"x" * (8 * 1024 * 1024)
            assert (await ask(upstream, replace(call(), body=body)))[1] == b"%d" % len(body)
            assert server.requests[0].body == body

    @pytest.mark.parametrize(
        "change",
        [
            {"path": "/a b"},
            {"path": "/a\r\nx: y"},
            {"path": "/ä"},
            {"headers": [(b"x", b"a\r\nauthorization: Bearer other")]},
            {"headers": [(b"x", b"a\nb")]},
        ],
    )
    async def test_a_request_that_would_be_read_as_another_is_not_sent(self, change: dict[str, Any]):
        async with self.serving(echo) as (upstream, server):
            with pytest.raises(UpstreamError) as fault:
                await upstream.open(replace(call(), **change))
            assert fault.value.status == 400
            assert server.connections == 0

    async def test_closing_the_upstream_ends_the_calls_under_way(self):
        async with self.serving(silent, max_connections=1) as (upstream, server):
            tasks = [asyncio.create_task(upstream.open(call())) for _ in range(2)]
            await eventually(lambda: len(server.requests) == 1)
            await upstream.aclose()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ReplyBroken, ConnectFailed]
            with pytest.raises(ConnectFailed):
                await upstream.open(call())

    def open_connections(self, upstream: Any) -> int:
        return sum(replica.pool.open_connections for replica in upstream.replicas)

    def outstanding(self, upstream: Any) -> int:
        return sum(replica.outstanding for replica in upstream.replicas)
