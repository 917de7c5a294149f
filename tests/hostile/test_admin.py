"""The admin plane of a whole installation under attack: control as `tutelage serve` starts it, on its own port."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.gateway.model_server import model_server
from tests.hostile.target import CANARY, assert_no_canary
from tests.hostile.wire import Said, assert_refused, connected, say
from tutelage.demo.site import Site, running_site

pytestmark = pytest.mark.anyio

ROUTE = "chat"
AT = f"/admin/routes/{ROUTE}"
SCRIPT = "<script>alert(1)</script>"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\x08\u202e"


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    async with model_server("teacher") as teacher:
        arm = {"kind": "openai", "base_url": teacher.url, "model": "m"}
        document: dict[str, Any] = {
            "upstreams": {"big": arm, "small": arm},
            "routes": {ROUTE: {"teacher": "big", "student": "small", "share": "10%"}},
        }
        async with running_site(folder, document) as site:
            yield site
    log = (folder / "serve.log").read_text()
    assert "Traceback" not in log
    assert_no_canary(folder)


async def ask(site: Site, method: str, path: str, *lines: str, body: bytes = b"", key: str | None = None) -> Said:
    head = [
        f"{method} {path} HTTP/1.1",
        "host: admin",
        f"authorization: Bearer {key or site.admin_key}",
        f"content-length: {len(body)}",
        *lines,
    ]
    data = "\r\n".join((*head, "", "")).encode("utf-8", "surrogateescape") + body
    return await say(int(site.admin_url.rpartition(":")[2]), data)


async def assert_serves(site: Site) -> None:
    assert (await ask(site, "GET", AT)).status == 200


PATHS = (
    ("GET", "/admin/routes"), ("GET", AT), ("GET", f"{AT}/gates"), ("GET", f"{AT}/history"), ("PUT", f"{AT}/share"),
    ("POST", f"{AT}/kill"), ("POST", f"{AT}/promote"), ("GET", f"/admin/pairs?route={ROUTE}"), ("GET", "/admin/pairs/x"),
    ("GET", "/admin/keys"), ("POST", "/admin/keys"), ("DELETE", "/admin/keys/x"), ("DELETE", "/admin/subjects/x"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_only_an_admins_key_opens_it(site: Site, method: str, path: str):
    assert_refused(await ask(site, method, path, key=site.key), 403)
    wrong = await ask(site, method, path, key=f"tut-{CANARY}-wrong")
    none = await say(int(site.admin_url.rpartition(":")[2]), f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    for answer in (wrong, none):
        assert_refused(answer, 401)
    assert wrong.body == none.body
    assert CANARY.encode() not in wrong.raw


async def test_an_admins_key_opens_nothing_on_the_data_plane(site: Site):
    lines = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {site.admin_key}\r\n\r\n"
    assert_refused(await say(int(site.url.rpartition(":")[2]), lines.encode()), 401)


QUERIES = (
    "route=chat'%20OR%201=1--", "route=chat%00", "route=../../etc/passwd", "route=nope",
    "route=chat&limit=1;DROP%20TABLE%20pairs",
    "route=chat&limit=-1", "route=chat&limit=99999999999999999999", "route=chat&limit=x", "route=chat&before=x",
    "route=%ff%fe", "limit=1", "route=", f"route={'x' * 10_000}",
)  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
async def test_a_query_is_data(site: Site, query: str):
    assert_refused(await ask(site, "GET", f"/admin/pairs?{query}"), 400, 404)
    await assert_serves(site)


@pytest.mark.parametrize("name", ["nan", "inf", "-inf", "1e400", "NaN"])
async def test_a_time_that_is_none_is_refused_or_empty(site: Site, name: str):
    answer = await ask(site, "GET", f"/admin/pairs?route={ROUTE}&before={name}")
    assert answer.status in (200, 400), answer
    await assert_serves(site)


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "../../etc/passwd", "%00", "x'%20OR%20'1'='1", "%ff", "x" * 5_000, "%e2%80%ae", SCRIPT],
)
@pytest.mark.parametrize("place", ["/admin/routes/{}", "/admin/routes/{}/gates", "/admin/pairs/{}", "/admin/keys/{}"])
async def test_a_name_is_data(site: Site, place: str, name: str):
    method = "DELETE" if "keys" in place else "GET"
    assert_refused(await ask(site, method, place.format(name)), 400, 404, 405)
    await assert_serves(site)


async def test_nobody_elses_pair_is_there(site: Site):
    """A name that is not this installation's, well formed or not, is one 404."""
    for name in ("01a20cad-ff49-7ed5-96c8-de4b77bee20d", "1", "x"):
        assert_refused(await ask(site, "GET", f"/admin/pairs/{name}"), 404)


BODIES = (
    b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 60_000, b'{"student_bp": NaN}', b'{"student_bp": 1e400}',
    b'{"student_bp": 10001}', b'{"student_bp": -1}', b'{"student_bp": "1; DROP TABLE"}', b'{"student_bp": 1, "x": 1}',
    b'{"student_bp": ' + b"9" * 5_000 + b"}", b'{"student_bp": 1, "reason": "' + b"x" * 3_000 + b'"}',
    b'{"student_bp": true}', b'{"student_bp": 1.5}', b'{"student_bp": 1, "reason": "\\ud800"}',
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_a_body_that_does_not_fit_is_a_400(site: Site, body: bytes):
    answer = await ask(site, "PUT", f"{AT}/share", "content-type: application/json", 'if-match: "1"', body=body)
    assert_refused(answer, 400)
    await assert_serves(site)


async def test_a_large_body_is_refused_unread(site: Site):
    lines = (
        f"PUT {AT}/share HTTP/1.1", "host: x", f"authorization: Bearer {site.admin_key}", "content-length: 100000000", "", "",
    )  # fmt: skip
    assert_refused(await say(int(site.admin_url.rpartition(":")[2]), "\r\n".join(lines).encode()), 413)
    chunked = "\r\n".join((*lines[:3], "transfer-encoding: chunked", "", "5\r\n")).encode()
    assert_refused(await say(int(site.admin_url.rpartition(":")[2]), chunked), 413)
    await assert_serves(site)


async def test_another_sites_page_can_write_nothing(site: Site):
    """No cookie signs anybody in, no origin is allowed, and a form's content type is not JSON."""
    origin = "origin: https://evil.example"
    asked = ("access-control-request-method: PUT", "access-control-request-headers: authorization")
    preflight = await ask(site, "OPTIONS", f"{AT}/share", origin, *asked)
    assert_refused(preflight, 401, 404, 405)
    with_cookie = await ask(
        site, "POST", f"{AT}/kill", origin, f"cookie: authorization=Bearer {site.admin_key}", key="x"
    )
    assert_refused(with_cookie, 401)
    form = await ask(
        site, "PUT", f"{AT}/share", origin, "content-type: text/plain", 'if-match: "1"', body=b'{"student_bp":1}'
    )
    assert_refused(form, 400, 415)
    for answer in (preflight, with_cookie, form):
        assert not {name for name in answer.headers if name.startswith("access-control-")}


async def test_what_is_stored_is_shown_as_data(site: Site):
    """A script or a terminal's escape codes in a label or reason are JSON to a browser, and harmless in a terminal."""
    made = await ask(
        site,
        "POST",
        "/admin/keys",
        "content-type: application/json",
        body=f'{{"label": "{SCRIPT}", "tenant": "t"}}'.encode(),
    )
    assert made.status == 201
    reason = SCRIPT + ESCAPES.encode("unicode-escape").decode().replace("\\x", "\\u00")
    killed = await ask(
        site, "POST", f"{AT}/kill", "content-type: application/json", body=f'{{"reason": "{reason}"}}'.encode()
    )
    assert killed.status == 200, killed
    for path in ("/admin/keys", f"{AT}/history"):
        shown = await ask(site, "GET", path)
        assert SCRIPT.encode() in shown.body
        assert shown.headers["content-type"].startswith("application/json")
        assert shown.headers["x-content-type-options"] == "nosniff"
    for command in (("history", ROUTE), ("explain", ROUTE), ("status",), ("history", ROUTE, "--json")):
        said = await asyncio.to_thread(_command, site, *command)
        assert not {character for character in ESCAPES if not character.isprintable() and character in said}, command
        assert command[0] != "history" or SCRIPT in said
    assert (await ask(site, "POST", f"{AT}/clear")).status == 200


def _command(site: Site, *words: str) -> str:
    argv = [sys.executable, "-m", "tutelage.cli.main", *words, "--config", str(site.config)]
    return subprocess.run(argv, capture_output=True, timeout=300, check=True).stdout.decode()


async def test_nonsense_on_its_port_is_refused_or_ended(site: Site):
    for nonsense in (b"\x16\x03\x01" * 50, b"GET / HTTP/9.9\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", b"x" * 200_000):
        async with connected(int(site.admin_url.rpartition(":")[2])) as (answers, writer):
            writer.write(nonsense)
            answer = await answers.next()
            assert answer.closed or 400 <= answer.status < 500
    await assert_serves(site)
