"""The gateway under test: `tutelage serve` with one route for every model, captured.

Both arms are the suite's upstream, so that an answer does not depend on which of them gave it.
"""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tutelage.contracts.ids import uuid7
from tutelage.contracts.keys import Key
from tutelage.demo.site import Site, free_port, running_site
from tutelage.store.registry import open_store

ROUTE = "everything"
UPSTREAM_KEY = "CONFORMANCE_UPSTREAM_KEY"
KEYS_S = 10.0
ALL = {
    "tools": True,
    "structured": True,
    "vision": True,
    "audio": True,
    "logprobs": True,
    "endpoints": ["chat.completions", "completions", "embeddings", "responses"],
}


@asynccontextmanager
async def gateway_before(
    upstream: str,
    folder: Path,
    *,
    keys: Sequence[str],
    route: Mapping[str, Any],
    default_upstream: str | None = "teacher",
) -> AsyncIterator[Site]:
    """A gateway in front of `upstream` that knows `keys`. `route` are further settings of its route."""
    os.environ.setdefault(UPSTREAM_KEY, "sk-conformance")
    arm = {"kind": "openai", "base_url": upstream, "model": "gpt-4o", "api_key": f"${{{UPSTREAM_KEY}}}"}
    bind = f"127.0.0.1:{free_port()}"
    document = {
        "gateway": {"bind": bind, "processes": 1, "metrics_port": free_port(), "drain_deadline": "20s"},
        "upstreams": {"teacher": arm, "student": arm | {"trained_until": 1.0, "can": ALL}},
        "default_upstream": default_upstream,
        "routes": {
            ROUTE: {
                "match": ["*"],
                "teacher": "teacher",
                "student": "student",
                "capture": {"content": "full", "purpose": "conformance"},
                **route,
            }
        },
    }
    async with running_site(folder, document) as site:
        _add_keys(site, keys)
        await _keys_in_force(site, keys)
        yield site


async def served_by_arm(site: Site) -> dict[str, int]:
    """Requests of the route by the arm that served them. What the route does not split (files, models, …) is not among them."""
    async with httpx.AsyncClient(trust_env=False) as http:
        port = yaml.safe_load(site.config.read_text())["gateway"]["metrics_port"]
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    served: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "tutelage_gateway_requests_total" and sample.labels["route"] == ROUTE:
                served[sample.labels["arm"]] += int(sample.value)
    return dict(served)


async def _keys_in_force(site: Site, keys: Sequence[str]) -> None:
    async with asyncio.timeout(KEYS_S), httpx.AsyncClient(trust_env=False) as http:
        for key in keys:
            headers = {"authorization": f"Bearer {key}"}
            while (await http.get(f"{site.url}/v1/models", headers=headers)).status_code != 200:  # noqa: ASYNC110 a process
                await asyncio.sleep(0.1)


def _add_keys(site: Site, keys: Sequence[str]) -> None:
    """Suites bring keys of their own: they are put where `tutelage keys create` puts its."""
    store = open_store(f"sqlite:///{site.data_dir}/tutelage.db")
    try:
        for key in keys:
            digest = hashlib.sha256(key.encode()).hexdigest()
            store.put_key(Key(id=uuid7(1.0), digest=digest, tenant="conformance", label="", created_at=1.0))
    finally:
        store.close()
