"""How a connection to a replica comes about: straight or through a proxy, in the clear or over TLS.

    Address    a base URL, taken apart
    Proxies    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case, as curl and Go read them
    Dialer     a connected transport for a protocol; TLS through a proxy is a CONNECT tunnel

Hostnames are verified and named to the server (SNI) by the TLS context that is given. Knows no deadline: whoever dials cancels.
Errors leave as OSError. Must not know what is sent over a connection.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import cast
from urllib.parse import unquote, urlsplit

from tutelage.contracts.errors import ConfigurationError

SCHEMES = {"http": 80, "https": 443}
MAX_TUNNEL_HEAD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A base URL, taken apart. `name` is the URL without its scheme: what records call the replica."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @property
    def name(self) -> str:
        return self.authority + self.path


def address_of(base_url: str) -> Address:
    """Raises ConfigurationError for what is no plain http or https URL."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError as fault:
        raise ConfigurationError(f"base_url cannot be read: {fault}") from fault
    if parts.scheme not in SCHEMES or not host:
        raise ConfigurationError(f"base_url {base_url!r} must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.query or parts.fragment:
        reason = "no user, query or fragment may stand in it; keys go into api_key"
        raise ConfigurationError(f"base_url of host {host!r}: {reason}")
    if not base_url.isascii() or any(char <= " " for char in base_url):
        raise ConfigurationError(f"base_url {base_url!r} must be ASCII without spaces: percent-encode it")
    return Address(
        scheme=parts.scheme,
        host=host,
        port=port or SCHEMES[parts.scheme],
        authority=parts.netloc,
        path=parts.path.rstrip("/"),
    )


# --- proxies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy that is spoken to in HTTP. `authorization` is the header line's value, where it wants one."""

    host: str
    port: int
    authorization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Which proxy leads where. `bypass` are the entries of NO_PROXY."""

    http: Proxy | None = None
    https: Proxy | None = None
    bypass: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Proxies":
        """As the environment says. Raises ConfigurationError, without showing the value, for a proxy of another kind."""

        def first(*names: str) -> str:
            spelled = [spelling for name in names for spelling in (name.lower(), name)]
            return next((value for name in spelled if (value := environment.get(name, "").strip())), "")

        return cls(
            http=_proxy("HTTP_PROXY", first("HTTP_PROXY", "ALL_PROXY")),
            https=_proxy("HTTPS_PROXY", first("HTTPS_PROXY", "ALL_PROXY")),
            bypass=tuple(entry.strip().lower() for entry in first("NO_PROXY").split(",") if entry.strip()),
        )

    def to(self, address: Address) -> Proxy | None:
        """The proxy on the way to `address`. This machine itself is never reached through one."""
        proxy = self.http if address.scheme == "http" else self.https
        if proxy is None or _is_loopback(address.host) or any(_covers(entry, address) for entry in self.bypass):
            return None
        return proxy


def _proxy(name: str, value: str) -> Proxy | None:
    if not value:
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{name} cannot be read: write http://HOST:PORT") from None
    if parts.scheme != "http" or not host:
        raise ConfigurationError(f"{name} begins with {parts.scheme}://: only proxies at http:// are spoken to")
    authorization = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + b64encode(login.encode()).decode("ascii")
    return Proxy(host=host, port=port or 80, authorization=authorization)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _covers(entry: str, address: Address) -> bool:
    """Whether an entry of NO_PROXY names this host: `*`, a name and its subdomains, an address, a network, each with or without
    a port."""
    if entry == "*":
        return True
    try:
        return ip_address(address.host) in ip_network(entry, strict=False)
    except ValueError:
        pass
    name, _, port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    if port and port != str(address.port):
        return False
    name = name.removeprefix("*").strip("[]").lstrip(".")
    return bool(name) and (address.host == name or address.host.endswith(f".{name}"))


# --- dialling ---------------------------------------------------------------------------------------------------------


class Dialer:
    """Connects protocols to one address."""

    __slots__ = ("_address", "_proxy", "_tls")

    def __init__(self, address: Address, *, tls: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        self._address = address
        self._tls = tls
        self._proxy = proxy

    async def dial(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BufferedProtocol) -> None:
        """Connect `protocol`. Raises OSError, and leaves nothing open then or where it is cancelled."""
        address, proxy = self._address, self._proxy
        if proxy is None:
            transport, _ = await loop.create_connection(lambda: protocol, address.host, address.port, ssl=self._tls)
            _without_delay(transport)
        elif self._tls is None:
            transport, _ = await loop.create_connection(lambda: protocol, proxy.host, proxy.port)
            _without_delay(transport)
        else:
            await self._tunnel(loop, protocol, proxy, self._tls)

    async def _tunnel(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BufferedProtocol, proxy: Proxy, tls: ssl.SSLContext
    ) -> None:
        address = self._address
        opening = _Opening(loop)
        raw, _ = await loop.create_connection(lambda: opening, proxy.host, proxy.port)
        _without_delay(raw)
        try:
            host = f"[{address.host}]" if ":" in address.host else address.host
            login = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization is not None else ""
            target = f"{host}:{address.port}"
            raw.write(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{login}\r\n".encode("ascii"))
            await opening.answered
            transport = await loop.start_tls(raw, protocol, tls, server_hostname=address.host)
        except BaseException:
            raw.abort()
            raise
        if transport is None:
            raise ConnectionError("the connection ended inside the handshake")
        protocol.connection_made(transport)


class _Opening(asyncio.Protocol):
    """The part of a tunnel's connection in which the proxy answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered: asyncio.Future[None] = loop.create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            return
        self._head += data
        line = self._head.partition(b"\r\n")[0]
        if len(self._head) > MAX_TUNNEL_HEAD_BYTES:
            self.answered.set_exception(ConnectionError("the proxy's answer has no end"))
        elif b"\r\n\r\n" in self._head:
            version, _, rest = line.partition(b" ")
            if version.startswith(b"HTTP/1.") and rest[:1] == b"2":
                self.answered.set_result(None)
            else:
                self.answered.set_exception(ConnectionError(f"the proxy refused: {rest[:64].decode('latin-1')}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(ConnectionError("the proxy hung up"))
            self.answered.exception()  # nobody may be waiting any more


def _without_delay(transport: asyncio.BaseTransport) -> None:
    sock = cast("socket.socket", transport.get_extra_info("socket"))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """What verifies certificate and hostname, against `ca_file` or what the system trusts. Raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigurationError(f"ca_file {ca_file!r} cannot be used: {fault}") from fault
    context.set_alpn_protocols(["http/1.1"])
    return context
