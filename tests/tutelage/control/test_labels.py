"""A person's score: asked for, taken once, counted once."""

import httpx
import pytest

from router.types import Arm
from tests.tutelage.control.conftest import Site, built
from tests.tutelage.control.made import ROUTE
from tests.tutelage.control.test_loop import events, judge, rollout_of, traffic, until
from tests.tutelage.control.test_replay import all_same
from tests.tutelage.control.test_succession import NEXT, measured
from tests.tutelage.control.test_succession import begin as declare
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


# --- a successor ------------------------------------------------------------------------------------------------------


async def said(site: Site, admin: httpx.AsyncClient, *, serving: float, successor: float) -> int:
    """What people answer about every pair that they are asked about; how many those of the successor were."""
    listed = (await admin.get("/admin/pairs", params={"route": ROUTE, "limit": 1000})).json()["pairs"]
    asked, beside = [pair["id"] for pair in listed if pair["to_label"]], 0
    for name in asked:
        d = successor if name.endswith("-successor") else serving
        answered = await admin.post(f"/admin/pairs/{name}/label", json={"d": d})
        beside += answered.status_code == 200 and name.endswith("-successor")
    for _ in range(10):
        site.now += 1.0
        site.tick()
    return beside


async def on_the_last_rung(site: Site, admin: httpx.AsyncClient) -> None:
    """A student serves on the last rung, by its own labels, and the next one is measured beside it."""
    declare(site, successor=False, labels="50%")
    for _ in range(12):
        if rollout_of(site).rung == 2:
            break
        until(site, lambda now: now.rung == 2, Arm.TEACHER, 0.1, rounds=2)
        until(site, lambda now: now.rung == 2, Arm.STUDENT, 0.1, rounds=2)
        await said(site, admin, serving=0.1, successor=0.0)
    assert rollout_of(site).rung == 2
    declare(site, successor=True, labels="50%")
    assert rollout_of(site).successor is not None


async def test_a_successor_takes_the_last_rung_over_with_labels_of_its_own(site: Site, admin: httpx.AsyncClient):
    await on_the_last_rung(site, admin)
    waiting = measured(site, 8, serving=0.0, successor=0.1)
    assert waiting.student == "small@v1"
    shown = (await admin.get(f"/admin/routes/{ROUTE}/gates")).json()["successor"]
    assert shown["reason"].startswith("people's labels")  # nothing else is wanting
    assert "over 0 drawn pairs" in shown["reason"]
    assert shown["labels"]["awaited"]["pair"].endswith("-successor")
    declare(site, successor=True, labels="50%")  # a control that begins anew goes on
    spoken = await said(site, admin, serving=0.0, successor=0.1)
    after = rollout_of(site)
    assert (after.student, after.share_bp, after.rung) == (NEXT, 9000, 2)
    assert "Succeed" in events(site)
    assert counted(site) == spoken > 100
    all_same(site)


async def test_a_successor_that_people_alone_reject_is_sent_away_beside_a_judge_that_flatters_it(
    site: Site, admin: httpx.AsyncClient
):
    await on_the_last_rung(site, admin)
    measured(site, 4, serving=0.0, successor=0.1)
    assert rollout_of(site).successor is not None
    assert await said(site, admin, serving=0.0, successor=-0.3) > 50
    after = rollout_of(site)
    assert (after.student, after.rung, after.successor) == ("small@v1", 2, None)
    assert "Succeed" not in events(site)
    [gone] = [decision for decision in site.store.history(ROUTE, 100) if decision.event == "Dismiss"]
    assert gone.reason.startswith("cannot pass, retrain: log E'")
    assert "over people's labels of" in gone.reason
    all_same(site)


async def test_a_successor_that_people_find_at_the_margin_neither_passes_nor_is_sent_away(
    site: Site, admin: httpx.AsyncClient
):
    await on_the_last_rung(site, admin)
    for _ in range(3):
        measured(site, 4, serving=0.0, successor=0.1)
        assert await said(site, admin, serving=0.0, successor=-0.05) > 50
    assert (rollout_of(site).student, rollout_of(site).successor is None) == ("small@v1", False)
    shown = (await admin.get(f"/admin/routes/{ROUTE}/gates")).json()["successor"]
    assert shown["reason"].startswith("people's labels")
    assert shown["labels"]["n"] > 150
    assert shown["labels"]["mean_d"] == pytest.approx(-0.05)
    all_same(site)
