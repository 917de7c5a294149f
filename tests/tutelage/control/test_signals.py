"""What only the active control knows of the machinery is there for everybody who asks why."""

import httpx

from router.events import Pause
from router.types import Arm
from tests.tutelage.control.conftest import Site
from tests.tutelage.control.made import ROUTE, attempt, exchange, plan, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_loop import rollout_of, traffic
from tutelage.contracts.ids import uuid7
from tutelage.contracts.pairs import Judgement
from tutelage.contracts.records import Exchange
from tutelage.control.signals import EVERY_S
from tutelage.store import apply as writes
from tutelage.store.registry import open_store


def gauge(metrics: bytes, watch: str) -> float | None:
    """What `tutelage_alarm` reads of the route."""
    start = f'tutelage_alarm{{route="{ROUTE}",watch="{watch}"}} '
    return next((float(line[len(start) :]) for line in metrics.decode().splitlines() if line.startswith(start)), None)


def refuse(site: Site) -> None:
    """A gateway's breaker has refused a call of the teacher."""
    refused = attempt(Arm.TEACHER, status=None, error="breaker_open", answer=None)
    rollout = rollout_of(site)
    made = exchange(
        f"refused-{site.now}", admitted_at=site.now, epoch=rollout.epoch, revision=rollout.revision, attempts=(refused,)
    )
    spool(site.data_dir, "g1", [made, shadow(made.id, ended_at=site.now)])
    site.tick(2)


async def test_an_open_breaker_is_said_with_its_numbers_wherever_somebody_looks(site: Site, admin: httpx.AsyncClient):
    quiet = (await admin.get(f"/admin/routes/{ROUTE}/gates")).json()
    assert quiet["holds"] == []
    assert not any(watch["alarm"] for watch in quiet["signals"]["watches"].values())
    refuse(site)
    document = (await admin.get(f"/admin/routes/{ROUTE}/gates")).json()
    assert document["signals"]["watches"]["teacher"]["alarm"] is True
    assert "refused a call" in document["signals"]["watches"]["teacher"]["words"]
    [hold] = document["holds"]
    assert (hold["hold"], hold["actor"], hold["reason"]) == ("teacher", "controller", "the teacher's breaker is open")
    assert any(each.startswith("held (teacher): the teacher's breaker is open") for each in document["blockers"])
    route = (await admin.get(f"/admin/routes/{ROUTE}")).json()
    assert "teacher" in route["alarms"]
    assert gauge(site.metrics.scrape(), "teacher") == 1.0


async def test_every_standing_hold_has_its_own_reason(site: Site, admin: httpx.AsyncClient):
    pause = Pause(at=site.now, actor="cli:ada", reason="the release is on Monday")
    writes.apply(site.store, ROUTE, pause, expected_revision=None, new_id=uuid7)
    refuse(site)
    holds = (await admin.get(f"/admin/routes/{ROUTE}/gates")).json()["holds"]
    assert {hold["hold"]: hold["reason"] for hold in holds} == {
        "operator": "the release is on Monday",
        "teacher": "the teacher's breaker is open",
    }
    assert next(hold for hold in holds if hold["hold"] == "operator")["actor"] == "cli:ada"


def test_a_split_that_is_not_what_was_planned_blocks_for_a_reader_of_the_store_too(site: Site):
    site.tick()
    rollout = rollout_of(site)
    records: list[Exchange] = [
        exchange(f"x{n}", Arm.STUDENT, conversation=f"user-{n}", plan=plan(Arm.STUDENT, share_bp=1_000, shadow=None),
                 epoch=rollout.epoch, revision=rollout.revision, admitted_at=site.now)
        for n in range(200)
    ]  # fmt: skip
    spool(site.data_dir, "g1", records)
    site.tick(2)
    reader = open_store(site.url)
    seen = reader.signals(ROUTE)
    reader.close()
    assert seen is not None
    assert seen.alarm("split") == "the student has 200 of 200 users where the split planned 20"
    assert "ratio" in rollout_of(site).holds


def test_a_judge_who_minds_the_order_is_an_alarm_that_holds_nothing(site: Site):
    site.tick()
    traffic(site, 90, "a")
    site.tick()
    claimed = site.store.claim("w", 100, 60.0, site.now)
    site.store.judged(
        [
            Judgement(
                pair_id=claim.pair.id, rubric="exact@1", method="judge", scores=(), d=0.0, scored_at=site.now,
                first_minus_second=0.5,
            )
            for claim in claimed
        ]
    )  # fmt: skip
    site.tick(3)
    seen = site.store.signals(ROUTE)
    assert seen is not None
    assert "mean +0.500 over 90 units" in str(seen.alarm("order"))
    assert rollout_of(site).holds == frozenset()
    assert gauge(site.metrics.scrape(), "order") == 1.0


def test_what_changes_nothing_is_published_now_and_then(site: Site):
    site.tick()
    first = site.store.signals(ROUTE)
    site.tick(1)
    assert site.store.signals(ROUTE) == first
    site.now += EVERY_S
    site.tick()
    later = site.store.signals(ROUTE)
    assert first is not None
    assert later is not None
    assert later.at > first.at
