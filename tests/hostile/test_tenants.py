"""Two tenants of one installation: what one did is not there for the other, through the running control plane.

The admin plane is the operator's, who sees all tenants; a tenant has data keys only, and these open nothing there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.model_server import model_server
from tutelage.demo.site import Site, running_site

pytestmark = pytest.mark.anyio

ROUTE = "chat"
ASK: dict[str, Any] = {"model": ROUTE, "messages": [{"role": "user", "content": "hello"}]}
UNKNOWN = "01960000-0000-7000-8000-000000000000"


@dataclass(frozen=True, kw_only=True)
class Tenants:
    """Two tenants' clients, the operator's, and their installation."""

    acme: httpx.AsyncClient
    rival: httpx.AsyncClient
    operator: httpx.AsyncClient
    site: Site


@pytest.fixture(scope="module")
async def tenants(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tenants]:
    folder: Path = tmp_path_factory.mktemp("site")
    async with model_server("teacher") as teacher, model_server("student") as student:
        document: dict[str, Any] = {
            "upstreams": {
                "big": {"kind": "openai", "base_url": teacher.url, "model": "b"},
                "small": {"kind": "vllm", "base_url": student.url, "model": "s"},
            },
            "routes": {
                ROUTE: {
                    "teacher": "big",
                    "student": "small",
                    "share": "0%",
                    "capture": {"content": "full", "purpose": "tests"},
                }
            },
        }
        async with running_site(folder, document) as site, _client(site.admin_url, site.admin_key) as operator:
            keys = [await _made(operator, tenant) for tenant in ("acme", "rival")]
            async with _client(site.url, keys[0]) as acme, _client(site.url, keys[1]) as rival:
                for client in (acme, rival):
                    await _until(partial(_opens, client))
                yield Tenants(acme=acme, rival=rival, operator=operator, site=site)


def _client(url: str, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=20)


async def _made(operator: httpx.AsyncClient, tenant: str) -> str:
    made = await operator.post("/admin/keys", json={"tenant": tenant})
    key: str = made.json()["key"]
    return key


async def _opens(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/models")).status_code == 200


async def _until(condition: Callable[[], Awaitable[Any]], within_s: float = 30.0) -> Any:
    """What `condition` gives as soon as it gives something."""
    async with asyncio.timeout(within_s):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(0.1)


async def _asked(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 200
    return answer.headers["x-tutelage-request-id"]


async def _said(client: httpx.AsyncClient, about: str, text: str) -> tuple[int, set[str]]:
    answer = await client.post("/v1/feedback", json={"request_id": about, "kind": "comment", "value": text})
    return answer.status_code, set(answer.json())


async def test_what_one_says_of_the_others_answer_is_taken_like_any_other_and_dropped(tenants: Tenants):
    mine = await _asked(tenants.acme)

    async def comments(about: str) -> list[str] | None:
        """What is attached to a pair; None while there is none."""
        found = await tenants.operator.get(f"/admin/pairs/{about}")
        return [each["value"] for each in found.json()["feedback"]] if found.status_code == 200 else None

    told = [
        await _said(tenants.rival, mine, "the rival's"),
        await _said(tenants.rival, UNKNOWN, "of nothing"),
        await _said(tenants.acme, mine, "the owner's"),
    ]
    assert told == [(202, {"id", "object"})] * 3, "nothing tells the rival that the answer exists"
    theirs = await _asked(tenants.rival)
    await _said(tenants.rival, theirs, "of its own")
    assert await _until(lambda: comments(theirs)) == ["of its own"]
    assert await _until(lambda: comments(mine)) == ["the owner's"]
    metrics = (await tenants.operator.get("/metrics")).text
    assert 'tutelage_feedback_dropped_total{reason="other_tenant"} 1.0' in metrics


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/pairs?route=chat"),
        ("GET", "/admin/pairs/{pair}"),
        ("POST", "/admin/pairs/{pair}/label"),
        ("DELETE", "/admin/subjects/{pair}"),
        ("GET", "/admin/keys"),
        ("DELETE", "/admin/keys/{key}"),
    ],
)
async def test_a_tenants_key_opens_nothing_of_the_operators_whoevers_it_names(tenants: Tenants, method: str, path: str):
    """The answer is the same for what exists and for what does not."""
    there = await _asked(tenants.acme)
    (known, *_) = (await tenants.operator.get("/admin/keys")).json()["keys"]
    told = []
    async with httpx.AsyncClient(base_url=tenants.site.admin_url, headers=tenants.rival.headers) as rival:
        for pair, key in ((there, known["id"]), (UNKNOWN, UNKNOWN)):
            answer = await rival.request(method, path.format(pair=pair, key=key))
            told.append((answer.status_code, answer.content))
    assert told[0] == told[1]
    assert told[0][0] == 403


async def test_an_id_of_the_others_steers_nothing_on_the_data_plane(tenants: Tenants):
    """A route's own name and a request id are all that clients can name; neither reads anything back."""
    mine = await _asked(tenants.acme)
    for path in (f"/v1/feedback/{mine}", f"/v1/chat/completions/{mine}", f"/v1/models/{mine}"):
        ours, theirs = await tenants.acme.get(path), await tenants.rival.get(path)
        assert (ours.status_code, ours.json()) == (theirs.status_code, theirs.json())
        assert ours.status_code == 404
