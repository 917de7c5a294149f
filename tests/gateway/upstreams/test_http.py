"""What of the client no contract shows: addresses, TLS, connections that hang, connections that nobody uses."""

import asyncio
import gc
import socket
import ssl
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from gateway.upstreams import connection, http
from gateway.upstreams.base import ConnectFailed, ReplyBroken, TimedOut
from gateway.upstreams.dial import address_of
from gateway.upstreams.http import HttpPool
from gateway.upstreams.reply import HttpReply
from tests.gateway.upstreams.certificates import Certificate, made_for
from tests.gateway.upstreams.contract import PATIENT, ask, call, completion, echo
from tests.gateway.upstreams.server import Exchange, eventually, scripted
from tutelage.contracts.errors import ConfigurationError


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return made_for("IP:127.0.0.1", tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(certificate: Certificate) -> ssl.SSLContext:
    return certificate.server()


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a listener that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "host", "port", "name"),
    [
        ("http://vllm-0:8000/v1", "vllm-0", 8000, "vllm-0:8000/v1"),
        ("http://vllm-0:8000/v1/", "vllm-0", 8000, "vllm-0:8000/v1"),
        ("https://api.openai.com/v1", "api.openai.com", 443, "api.openai.com/v1"),
        ("http://h", "h", 80, "h"),
        ("http://[::1]:9/v1", "::1", 9, "[::1]:9/v1"),
    ],
)
def test_a_base_url_is_taken_apart(url: str, host: str, port: int, name: str):
    address = address_of(url)
    assert (address.host, address.port, address.name) == (host, port, name)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h", "h:80", "http://", "http://u:secret@h/v1", "http://h/v1?key=secret", "http://h/v1#x", "http://h/a b",
        "http://hä/", "http://h:99999/", "http://h\r\nx: y/",
    ],
)  # fmt: skip
def test_a_base_url_that_hides_something_is_refused_without_showing_it(url: str):
    with pytest.raises(ConfigurationError) as fault:
        address_of(url)
    assert "secret" not in str(fault.value)


def test_a_key_that_no_header_may_hold_is_refused_without_showing_it():
    with pytest.raises(ConfigurationError) as fault:
        HttpPool(upstream="gpt", base_url="http://h", api_key="secret\r\nx: y")
    assert "secret" not in str(fault.value)


async def test_tls_with_a_certificate_that_is_trusted(certificate: Certificate, server_tls: ssl.SSLContext):
    trusting = ssl.create_default_context(cafile=str(certificate.path))
    async with scripted(echo, tls=server_tls) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url, tls=trusting)
        for _ in range(2):
            reply = await pool.open(call("over TLS"))
            assert b"".join([chunk async for chunk in reply.chunks()]) == completion("over TLS")
            await reply.aclose()
        assert server.connections == 1
        await pool.aclose()


async def test_tls_with_a_certificate_that_nobody_trusts_is_a_failed_connect(server_tls: ssl.SSLContext):
    async with scripted(echo, tls=server_tls) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url)
        with pytest.raises(ConnectFailed, match="certificate"):
            await pool.open(call())
        assert pool.open_connections == pool.outstanding == 0
        assert server.requests == []


async def test_a_handshake_that_hangs_ends_at_the_connect_deadline(mute: int):
    pool = HttpPool(upstream="gpt", base_url=f"https://127.0.0.1:{mute}/v1")
    with pytest.raises(TimedOut) as fault:
        await pool.open(call(deadlines=replace(PATIENT, connect_s=0.1)))
    assert fault.value.kind == "timeout_connect"
    assert pool.open_connections == pool.outstanding == 0


async def test_a_handshake_that_hangs_is_closed_when_its_call_is_cancelled(mute: int):
    pool = HttpPool(upstream="gpt", base_url=f"https://127.0.0.1:{mute}/v1")
    task = asyncio.create_task(pool.open(call()))
    await eventually(lambda: pool.open_connections == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool.open_connections == pool.outstanding == 0


async def test_a_name_that_does_not_exist_is_a_failed_connect():
    pool = HttpPool(upstream="gpt", base_url="http://nobody.invalid/v1")
    with pytest.raises(ConnectFailed):
        await pool.open(call())
    assert pool.open_connections == 0


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
async def test_a_name_that_nobody_could_look_up_is_a_failed_connect(host: str):
    pool = HttpPool(upstream="gpt", base_url=f"http://{host}/v1")
    with pytest.raises(ConnectFailed):
        await pool.open(call())
    assert (pool.outstanding, pool.open_connections) == (0, 0)


async def test_an_answer_that_is_taken_whole_frees_its_connection_at_once():
    async with scripted(echo) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url)
        reply = await pool.open(call())
        await eventually(lambda: reply.complete)
        assert (pool.outstanding, pool.idle_connections) == (1, 0)
        assert reply.whole() == completion("hi")
        assert (pool.outstanding, pool.idle_connections) == (0, 1)
        await reply.aclose()
        assert (pool.outstanding, pool.idle_connections) == (0, 1)
        await pool.aclose()


async def test_a_connection_that_nobody_uses_is_closed_and_the_tick_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(http.KEEP_ALIVE_S, "http", 0.05)
    async with scripted(echo) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url)
        await pool_ask(pool)
        assert pool.idle_connections == 1
        await eventually(lambda: pool.open_connections == 0)
        await eventually(lambda: server.closed == 1)
        await eventually(lambda: pool._ticker is None)
        await pool_ask(pool)
        assert server.connections == 2
        await pool.aclose()


async def test_a_connection_that_the_server_closes_between_calls_is_not_used_again():
    async def script(exchange: Exchange) -> None:
        await exchange.answer(b"ok")
        exchange.close()

    async with scripted(script) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url)
        await pool_ask(pool)
        await eventually(lambda: pool.open_connections == 0)
        await pool_ask(pool)
        assert [exchange.on_connection for exchange in server.requests] == [0, 0]
        await pool.aclose()


async def test_a_reply_read_after_its_connection_serves_another_call_shows_nothing_of_it():
    async with scripted(echo) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url, max_connections=1)
        first = await pool.open(call("mine"))
        chunks = first.chunks()
        assert await anext(chunks) == completion("mine")
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
        await first.aclose()
        second = await pool.open(call("yours"))
        await first.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
        assert await anext(second.chunks()) == completion("yours")
        await second.aclose()
        assert server.connections == 1
        await pool.aclose()


async def test_a_place_that_a_cancelled_call_was_given_goes_to_the_next():
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.answer(exchange.body)

    async with scripted(script) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url, max_connections=1)
        holder = await_open(pool)
        await eventually(lambda: len(server.requests) == 1)
        waiting = [await_open(pool) for _ in range(3)]
        await asyncio.sleep(0)
        go_on.set()
        reply = await holder
        await reply.aclose()  # not read to its end or read: either way its place is now the first waiter's
        waiting[0].cancel()
        second = await waiting[1]
        await second.aclose()
        third = await waiting[2]
        await third.aclose()
        assert waiting[0].cancelled()
        assert pool.outstanding == 0
        assert pool.open_connections <= 1
        await pool.aclose()


async def test_calls_that_gave_up_waiting_for_a_connection_are_remembered_no_longer():
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.answer(exchange.body)

    async with scripted(script) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url, max_connections=1)
        holder = await_open(pool)
        await eventually(lambda: len(server.requests) == 1)
        hasty = replace(call(), deadlines=replace(call().deadlines, connect_s=0.01))
        for _ in range(3):
            with pytest.raises(TimedOut):
                await pool.open(hasty)
        assert pool.waiting_calls == 0
        patient = await_open(pool)
        await eventually(lambda: pool.waiting_calls == 1)
        go_on.set()
        await (await holder).aclose()
        await (await patient).aclose()
        await pool.aclose()


def await_open(pool: HttpPool) -> "asyncio.Task[HttpReply]":
    return asyncio.create_task(pool.open(call()))


async def pool_ask(pool: HttpPool) -> None:
    class Named:
        name = pool.upstream
        hidden = ()
        open = pool.open
        aclose = pool.aclose

    status, _ = await ask(Named(), call())
    assert status == 200


@pytest.mark.parametrize(("worked_s", "race_s", "asked"), [(0.0, 30.0, 3), (0.1, 0.05, 2)])
async def test_only_an_end_at_once_counts_as_a_race(
    worked_s: float, race_s: float, asked: int, monkeypatch: pytest.MonkeyPatch
):
    """A reused connection that ends at once has lost a race; one that ends after a while had the request."""
    monkeypatch.setattr(connection, "RACE_S", race_s)

    async def script(exchange: Exchange) -> None:
        if exchange.on_connection:
            await asyncio.sleep(worked_s)
            exchange.close()
        else:
            await exchange.answer(b"ok")

    async with scripted(script) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url)
        await pool_ask(pool)
        if asked == 3:
            await pool_ask(pool)
        else:
            with pytest.raises(ReplyBroken):
                await pool.open(call())
        assert len(server.requests) == asked
        await pool.aclose()


async def test_closed_connections_wait_for_no_collector():
    """It comes seldom: what it alone could free would pile up with every connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(b"ok", headers=b"connection: close\r\n")

    gc.collect()
    gc.disable()
    try:
        async with scripted(script) as server:
            pool = HttpPool(upstream="gpt", base_url=server.url)
            for _ in range(5):
                await pool_ask(pool)
            await eventually(lambda: server.closed == 5)
            await pool.aclose()
        await eventually(lambda: not any(isinstance(each, connection.Connection) for each in gc.get_objects()))
    finally:
        gc.enable()
