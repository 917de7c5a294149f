"""TLS and proxies, on real sockets: what is verified, what is named, what is refused; the contract through a tunnel."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.upstreams.base import ConnectFailed, TimedOut
from gateway.upstreams.dial import Proxies, Proxy, address_of, trusting
from gateway.upstreams.http import HttpPool
from gateway.upstreams.openai import OpenAIUpstream
from gateway.upstreams.registry import build_upstream
from tests.gateway.upstreams.certificates import Certificate, made_for
from tests.gateway.upstreams.contract import PATIENT, body_of, call, completion, echo
from tests.gateway.upstreams.proxy import proxying
from tests.gateway.upstreams.server import Script, Server, eventually, scripted
from tests.gateway.upstreams.wire_contract import WireContract
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.upstreams import UpstreamSettings

HOST = "model.test"
"""Resolved by no resolver: only the proxy knows where it is."""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return made_for(f"DNS:{HOST}", tmp_path_factory.mktemp("named"))


async def said(pool: HttpPool, text: str) -> bytes:
    reply = await pool.open(call(text))
    try:
        return await body_of(reply)
    finally:
        await reply.aclose()


async def test_tls_through_a_tunnel_names_and_verifies_the_host(certificate: Certificate):
    certificate.named.clear()
    async with scripted(echo, tls=certificate.server()) as server, proxying(server.port) as proxy:
        pool = HttpPool(
            upstream="gpt",
            base_url=f"https://{HOST}:{server.port}/v1",
            tls=trusting(str(certificate.path)),
            proxy=proxy.proxy("Basic dTpw"),
        )
        for number in range(3):
            assert await said(pool, f"call {number}") == completion(f"call {number}")
        await pool.aclose()
    assert certificate.named == [HOST]
    assert server.connections == 1
    [head] = proxy.heads
    assert head.startswith(f"CONNECT {HOST}:{server.port} HTTP/1.1\r\nhost: {HOST}:{server.port}\r\n")
    assert "proxy-authorization: Basic dTpw" in head
    assert "proxy-authorization" not in server.requests[0].headers, (
        "the proxy's password is not the provider's business"
    )


async def test_a_certificate_for_another_host_is_a_failed_connect(certificate: Certificate):
    async with scripted(echo, tls=certificate.server()) as server:
        pool = HttpPool(upstream="gpt", base_url=server.url, tls=trusting(str(certificate.path)))
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1"):
            await pool.open(call())
        assert pool.open_connections == pool.outstanding == 0
        assert not server.requests


async def test_in_the_clear_a_proxy_gets_the_whole_target():
    async with scripted(echo) as server, proxying(server.port) as proxy:
        pool = HttpPool(upstream="gpt", base_url=f"http://{HOST}/v1", proxy=proxy.proxy("Basic dTpw"))
        assert await said(pool, "hi") == completion("hi")
        await pool.aclose()
    assert proxy.heads[0].startswith(f"POST http://{HOST}/v1/chat/completions HTTP/1.1\r\nhost: {HOST}\r\n")
    assert "proxy-authorization: Basic dTpw" in proxy.heads[0]
    assert server.requests[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000,
    ],
)
async def test_a_proxy_that_refuses_is_a_failed_connect(answer: bytes, certificate: Certificate):
    async with scripted(echo, tls=certificate.server()) as server, proxying(server.port) as proxy:
        proxy.answer = answer
        pool = HttpPool(upstream="gpt", base_url=f"https://{HOST}/v1", proxy=proxy.proxy())
        with pytest.raises(ConnectFailed, match="proxy"):
            await pool.open(call())
        assert pool.open_connections == pool.outstanding == 0


@pytest.mark.parametrize("silent", ["proxy", "handshake"])
@pytest.mark.parametrize("ended_by", ["deadline", "cancellation"])
async def test_a_tunnel_that_hangs_leaves_nothing_open(silent: str, ended_by: str):
    open_now = 0
    hung = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            if silent == "handshake":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await reader.readexactly(5)
            hung.set()
            while await reader.read(65536):
                pass
        finally:
            open_now -= 1
            writer.close()

    listener = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    pool = HttpPool(upstream="gpt", base_url=f"https://{HOST}/v1", proxy=Proxy(host="127.0.0.1", port=port))
    connect_s = 1.0 if ended_by == "deadline" else 20
    task = asyncio.create_task(pool.open(call(deadlines=replace(PATIENT, connect_s=connect_s))))
    if ended_by == "cancellation":
        await hung.wait()
        task.cancel()
    with pytest.raises(TimedOut if ended_by == "deadline" else asyncio.CancelledError):
        await task
    await eventually(lambda: open_now == 0)
    assert pool.open_connections == pool.outstanding == 0
    listener.close()


class TestThroughATunnel(WireContract):
    """Everything that the contract asks, over TLS and a proxy."""

    @pytest.fixture
    def anyio_backend(self):
        return "asyncio", {"use_uvloop": True}

    @pytest.fixture(autouse=True)
    def _trusted(self, certificate: Certificate) -> None:
        self.certificate = certificate

    def build(self, url: str, *, max_connections: int = 64, proxies: Proxies | None = None) -> OpenAIUpstream:
        return OpenAIUpstream(
            name="gpt",
            base_urls=[url],
            api_key="the-key",
            max_connections=max_connections,
            clock=time.monotonic,
            draw=lambda: 0.0,
            tls=trusting(str(self.certificate.path)),
            proxies=proxies,
        )

    @asynccontextmanager
    async def serving(
        self, script: Script, *, max_connections: int = 64
    ) -> AsyncIterator[tuple[OpenAIUpstream, Server]]:
        async with scripted(script, tls=self.certificate.server()) as server, proxying(server.port) as proxy:
            url, proxies = f"https://{HOST}:{server.port}/v1", Proxies(https=proxy.proxy())
            upstream = self.build(url, max_connections=max_connections, proxies=proxies)
            try:
                yield upstream, server
            finally:
                await upstream.aclose()


# --- what the environment says ----------------------------------------------------------------------------------------

BOTH = {"HTTP_PROXY": "http://plain:3128", "https_proxy": "secure:8080"}


@pytest.mark.parametrize(
    ("url", "more", "host"),
    [
        ("http://vllm-0:8000/v1", {}, "plain"),
        ("https://api.openai.com/v1", {}, "secure"),
        ("https://api.openai.com/v1", {"https_proxy": "", "ALL_PROXY": "http://any"}, "any"),
        ("https://api.openai.com/v1", {"https_proxy": ""}, None),
        ("http://localhost:8000/v1", {}, None),
        ("http://127.0.0.1:8000/v1", {}, None),
        ("http://[::1]:8000/v1", {}, None),
        ("http://vllm-0:8000/v1", {"NO_PROXY": "*"}, None),
        ("http://vllm-0:8000/v1", {"NO_PROXY": "other, vllm-0"}, None),
        ("http://vllm-0:8000/v1", {"no_proxy": "vllm-0:9000"}, "plain"),
        ("http://vllm-0:8000/v1", {"no_proxy": "vllm-0:8000"}, None),
        ("http://a.cluster.local/v1", {"NO_PROXY": ".cluster.local"}, None),
        ("http://a.cluster.local/v1", {"NO_PROXY": "cluster.local"}, None),
        ("http://a.cluster.local/v1", {"NO_PROXY": "*.cluster.local"}, None),
        ("http://acluster.local/v1", {"NO_PROXY": "cluster.local"}, "plain"),
        ("http://10.1.2.3/v1", {"NO_PROXY": "10.0.0.0/8"}, None),
        ("http://11.1.2.3/v1", {"NO_PROXY": "10.0.0.0/8"}, "plain"),
        ("http://[fd00::1]/v1", {"NO_PROXY": "fd00::/8"}, None),
    ],
)
def test_which_proxy_leads_where(url: str, more: dict[str, str], host: str | None):
    proxy = Proxies.of(BOTH | more).to(address_of(url))
    assert (None if proxy is None else proxy.host) == host


def test_a_proxys_login_becomes_its_header():
    proxies = Proxies.of({"HTTPS_PROXY": "http://us%40er:p%3Aw@proxy"})
    assert proxies.https == Proxy(host="proxy", port=80, authorization="Basic dXNAZXI6cDp3")


@pytest.mark.parametrize("value", ["socks5://u:secret@h", "https://u:secret@h", "http://u:secret@h:x", "http://"])
def test_a_proxy_of_another_kind_is_refused_without_showing_it(value: str):
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as fault:
        Proxies.of({"HTTPS_PROXY": value})
    assert "secret" not in str(fault.value)


async def test_settings_and_environment_reach_the_socket(certificate: Certificate):
    async with scripted(echo, tls=certificate.server()) as server, proxying(server.port) as proxy:
        settings = UpstreamSettings(
            kind="openai", base_url=f"https://{HOST}/v1", model="m", ca_file=str(certificate.path)
        )
        upstream = build_upstream("gpt", settings, {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"})
        reply = await upstream.open(call("hi"))
        assert await body_of(reply) == completion("hi")
        await reply.aclose()
        await upstream.aclose()


def test_a_file_of_certificates_that_cannot_be_used_is_named(tmp_path: Path):
    settings = UpstreamSettings(kind="openai", base_url="https://h/v1", model="m", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        build_upstream("gpt", settings, {})
