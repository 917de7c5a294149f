"""A person's score: asked for, taken once, counted once."""

import httpx
import pytest

from router.types import Arm
from tests.tutelage.control.conftest import Site, built
from tests.tutelage.control.made import ROUTE
from tests.tutelage.control.test_loop import judge, traffic
from tutelage.control import gates
from tutelage.control.metrics import Metrics


def begin(site: Site, rate: str) -> None:
    site.loop.release()
    rollout = {"mode": "gated", "stages": ["0%", "10%", "90%"], "dwell": 0, "gates": {"labels": rate}}
    site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "labels", rollout=rollout)
    site.tick()


def counted(site: Site) -> int:
    snapshot = site.store.snapshot()
    assert snapshot is not None
    return gates.look(site.store, snapshot, ROUTE, site.now).view.state.labels.n


async def test_a_label_counts_once_and_the_gate_asks_for_it(site: Site, admin: httpx.AsyncClient):
    begin(site, "100%")
    traffic(site, 5, "a")
    site.tick()
    pairs = (await admin.get("/admin/pairs", params={"route": ROUTE})).json()["pairs"]
    assert all(pair["to_label"] for pair in pairs)
    path, second = "/admin/pairs/a-0/label", "/admin/pairs/a-1/label"
    early = await admin.post(path, json={"d": 0.5})
    assert (early.status_code, early.json()["error"]["code"]) == (409, "not_drawn")
    judge(site, 0.0)
    assert (await admin.post(path, json={"d": 0.5})).status_code == 200
    site.tick(2)
    assert counted(site) == 1
    assert (await admin.post(path, json={"d": -0.5})).status_code == 409
    site.tick(2)
    assert counted(site) == 1
    shown = (await admin.get(f"/admin/routes/{ROUTE}/gates")).json()
    assert [(cell["n"], cell["mean_d"]) for cell in shown["cells"] if cell["cell"].startswith("labels:")] == [(1, 0.5)]
    assert site.store.audits(1)[0].action == "label"
    assert shown["labels"]["awaited"]["pair"] == "a-1"
    assert (await admin.post("/admin/pairs/a-2/label", json={"d": 1.0})).status_code == 200
    site.tick(2)
    assert counted(site) == 1  # a-1 was drawn before it and has no label
    assert (await admin.post(second, json={"d": 0.0})).status_code == 200
    site.now += 1.0
    site.tick(2)
    assert counted(site) == 3


async def test_a_drawn_pair_without_a_label_in_time_counts_as_the_worst(site: Site, admin: httpx.AsyncClient):
    begin(site, "100%")
    traffic(site, 3, "a")
    site.tick()
    judge(site, 0.0)
    site.tick(2)
    assert (await admin.post("/admin/pairs/a-1/label", json={"d": 0.0})).status_code == 200
    site.now += 14 * 86_400.0 + 1.0
    site.tick(2)
    shown = (await admin.get(f"/admin/routes/{ROUTE}/gates")).json()["labels"]
    assert (shown["n"], shown["not_in_time"], shown["awaited"]) == (3, 2, None)
    assert shown["mean_d"] == pytest.approx(-2 / 3)
    late = await admin.post("/admin/pairs/a-0/label", json={"d": 0.0})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "not_drawn")


@pytest.mark.parametrize(("body", "status"), [({"d": 2}, 400), ({}, 400), ({"d": 0, "x": 1}, 400)])
async def test_a_label_that_is_none_is_refused(
    site: Site, admin: httpx.AsyncClient, body: dict[str, float], status: int
):
    assert (await admin.post("/admin/pairs/x/label", json=body)).status_code == status


async def test_what_was_not_drawn_is_not_labelled(site: Site, admin: httpx.AsyncClient):
    traffic(site, 1, "a")
    traffic(site, 1, "r", Arm.STUDENT)
    site.tick()
    judge(site, 0.0)
    for name in ("a-0", "r-0"):
        assert (await admin.post(f"/admin/pairs/{name}/label", json={"d": 0.0})).status_code == 409
    assert (await admin.post("/admin/pairs/nope/label", json={"d": 0.0})).status_code == 404
