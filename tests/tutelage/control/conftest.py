import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from scoring.rubrics.scorer import Scorer
from tests.tutelage.control.made import settings
from tutelage.contracts.ids import uuid7
from tutelage.contracts.keys import Key
from tutelage.contracts.parts import with_parts
from tutelage.contracts.records import Spooled
from tutelage.control.app import application
from tutelage.control.decide import Gatekeeper
from tutelage.control.desk import Desk
from tutelage.control.health import Health
from tutelage.control.loop import Loop, Parts
from tutelage.control.metrics import Metrics
from tutelage.control.signals import Signalling
from tutelage.control.snapshot import Publisher, Sources
from tutelage.control.tail import Tail
from tutelage.serve import new_secret
from tutelage.store.base import Store
from tutelage.store.registry import open_store

RUBRICS = {"exact@1": "digest"}
SOURCES = Sources(new_id=uuid7, new_salt=lambda: os.urandom(8).hex())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Site:
    """One control role in this process, on a store of its own. `now` is its clock."""

    data_dir: Path
    store: Store
    loop: Loop
    metrics: Metrics
    now: float

    @property
    def url(self) -> str:
        return f"sqlite:///{self.data_dir}/tutelage.db"

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1.5
            while self.loop.tick():
                pass

    def key(self, role: str = "admin", revoked_at: float | None = None) -> str:
        plain = new_secret()
        self.store.put_key(
            Key(
                id=uuid7(self.now),
                digest=hashlib.sha256(plain.encode()).hexdigest(),
                tenant="t",
                label="",
                created_at=self.now,
                role=role,
                revoked_at=revoked_at,
            )
        )
        return plain


def built(
    data_dir: Path,
    store: Store,
    metrics: Metrics,
    clock,
    holder: str = "test",
    *,
    scorers: Mapping[str, Scorer] = MappingProxyType({}),
    **route: object,
) -> Loop:
    made = with_parts(settings(data_dir=str(data_dir), **route))  # type: ignore[arg-type] # any setting of a route

    def seen(record: Spooled) -> None:
        health.saw(record)

    tail = Tail(store, data_dir, seen)
    health = Health(data_dir, tail.overdue)
    parts = Parts(
        store=store,
        settings=made,
        publisher=Publisher(made, RUBRICS, SOURCES),
        tail=tail,
        keeper=Gatekeeper(store, made, metrics, SOURCES.new_id, health),
        health=health,
        metrics=metrics,
        scorers=scorers,
        chores=(Signalling(store, health, metrics),),
    )
    return Loop(parts, holder, clock)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = open_store(f"sqlite:///{tmp_path}/tutelage.db")
    metrics = Metrics()
    here = Site(data_dir=tmp_path, store=store, loop=None, metrics=metrics, now=time.time())  # type: ignore[arg-type] # below
    here.loop = built(tmp_path, store, metrics, lambda: here.now)
    yield here
    store.close()


CARVED: Mapping[str, Any] = MappingProxyType(
    {
        "slices": {"routing": ["header:x-tutelage-slice"]},
        "rollout": {
            "stages": ["0%", "10%", "90%"],
            "dwell": 0,
            "gates": {"carve_outs": {"slice": "slice", "weights": {"gold": 0.5}}},
        },
    }
)
"""Settings of a route of which `gold` climbs apart."""


@pytest.fixture
def carving(site: Site) -> Site:
    """The site with `CARVED`."""
    site.loop = built(site.data_dir, site.store, site.metrics, lambda: site.now, **CARVED)
    return site


@pytest.fixture
async def admin(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the admin plane with an admin key."""
    site.tick()
    desk = Desk(lambda: open_store(site.url), clock=lambda: site.now)
    app = application(desk, site.metrics.scrape, lambda: True)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {site.key()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://admin", headers=headers) as client:
        yield client
    await desk.aclose()
