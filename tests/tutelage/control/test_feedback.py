"""Feedback finds its exchange, whoever wrote it first and wherever; what is not the tenant's is dropped and counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tutelage.control.made import NOW, ROUTE, exchange, plan, settings, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_join import ROUTES
from tutelage.contracts.records import Feedback, Json, Spooled
from tutelage.control.chores import DAY_S, Retention
from tutelage.control.feedback import MAX_WAITING, WAIT_S, Attacher
from tutelage.control.metrics import Metrics
from tutelage.control.snapshot import published
from tutelage.control.tail import Tail
from tutelage.store.base import Lease, Store
from tutelage.store.registry import open_store
from tutelage.store.spool import read_after, spool_path

LEASE = Lease(name="control", holder="me", token=1, expires_at=NOW + 10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/t.db")
    yield opened
    opened.close()


def said(
    name: str = "f1",
    about: str = "x1",
    kind: str = "thumb",
    value: Json = "up",
    *,
    tenant: str = "acme",
    at: float = NOW,
) -> Feedback:
    return Feedback(id=name, exchange_id=about, tenant=tenant, type=kind, value=value, at=at)


def test_it_is_attached_to_its_exchange_in_another_processs_spool(store: Store, tmp_path: Path):
    spool(tmp_path, "gateway-0", [exchange(tenant="acme"), shadow()])
    spool(tmp_path, "gateway-1", [said(), said("f2", kind="score", value=0.5, at=NOW + 1)])
    joined = Tail(store, tmp_path).read(ROUTES, NOW)
    assert [attached.route for attached in joined.feedback] == [ROUTE, ROUTE]
    assert [feedback.id for feedback in store.feedback("x1")] == ["f1", "f2"]


def test_what_is_not_sampled_has_its_feedback_too(store: Store, tmp_path: Path):
    unsampled = exchange(tenant="acme", plan=plan(shadow=None))
    spool(tmp_path, "gateway-0", [unsampled, said()])
    Tail(store, tmp_path).read(ROUTES, NOW)
    assert store.pair("x1") is None
    assert len(store.feedback("x1")) == 1


def test_another_tenants_is_dropped_and_counted(store: Store, tmp_path: Path):
    spool(tmp_path, "gateway-0", [exchange(tenant="acme"), said(tenant="other", kind="correction", value="poison")])
    joined = Tail(store, tmp_path).read(ROUTES, NOW)
    metrics = Metrics()
    metrics.saw_joined(joined)
    assert joined.unattached == ["other_tenant"]
    assert store.feedback("x1") == []
    assert b'tutelage_feedback_dropped_total{reason="other_tenant"} 1.0' in metrics.scrape()


def test_said_before_its_exchange_is_durable_it_waits_for_it_even_over_a_restart(store: Store, tmp_path: Path):
    spool(tmp_path, "gateway-0", [said()])
    Tail(store, tmp_path).read(ROUTES, NOW)
    spool(tmp_path, "gateway-1", [exchange(tenant="acme")])
    after_restart = Tail(store, tmp_path)
    after_restart.read(ROUTES, NOW + 1)
    assert store.feedback("x1") == []
    after_restart.read(ROUTES, NOW + WAIT_S)
    assert len(store.feedback("x1")) == 1
    assert store.waiting_halves() == []


def test_about_an_exchange_that_nobody_knows_it_is_dropped_after_its_time(store: Store, tmp_path: Path):
    spool(tmp_path, "gateway-0", [said(about="never")])
    tail = Tail(store, tmp_path)
    assert tail.read(ROUTES, NOW).unattached == []
    assert tail.read(ROUTES, NOW + WAIT_S).unattached == ["unknown_exchange"]
    assert store.waiting_halves() == []


def test_what_waits_is_bounded():
    attacher = Attacher(lambda _: None)
    took = attacher.take([said(f"f{number}", f"x{number}") for number in range(MAX_WAITING + 2)])
    assert len(took.waiting) == MAX_WAITING
    assert took.dropped == ["unknown_exchange"] * 2


def test_read_twice_it_is_attached_once(store: Store, tmp_path: Path):
    spool(tmp_path, "gateway-0", [exchange(tenant="acme"), said()])
    tail = Tail(store, tmp_path)
    joined = tail.read(ROUTES, NOW)
    store.join(joined)
    assert len(store.feedback("x1")) == 1


def test_a_correction_travels_with_the_pairs_of_its_input_from_then_on(store: Store, tmp_path: Path):
    """The latest one counts, on its own route and for its own input only."""
    store.publish(published(settings(), NOW))
    first = exchange("x1", tenant="acme", input_hash="h1")
    spool(tmp_path, "gateway-0", [first, shadow("x1"), said("f2", kind="correction", value="web", at=NOW + 2)])
    tail = Tail(store, tmp_path)
    tail.read(ROUTES, NOW)
    later: list[Spooled] = [
        exchange("x2", input_hash="h1"),
        shadow("x2"),
        exchange("x3", input_hash="h2"),
        shadow("x3"),
    ]
    spool(tmp_path, "gateway-0", [*later, said("f1", kind="correction", value="net", at=NOW + 1)])
    tail.read(ROUTES, NOW)
    claimed = {claim.pair.id: claim.correction for claim in store.claim("w", 10, 60.0, NOW + 3)}
    assert claimed == {"x1": "web", "x2": "web", "x3": None}


def test_retention_takes_feedback_from_store_and_spool(store: Store, tmp_path: Path):
    store.publish(published(settings(), NOW))
    old = NOW - 40 * DAY_S
    spool(
        tmp_path, "gateway-0", [exchange(tenant="acme", admitted_at=old), said(kind="correction", value="net", at=old)]
    )
    spool(tmp_path, "gateway-0", [said("f2")])
    Tail(store, tmp_path).read(ROUTES, NOW)
    snapshot = store.snapshot()
    assert snapshot is not None
    assert len(store.feedback("x1")) == 2
    Retention(store, settings(), Metrics(), tmp_path).do(snapshot, LEASE, NOW)
    assert [feedback.id for feedback in store.feedback("x1")] == ["f2"]
    assert [row.id for row in read_after(spool_path(tmp_path, "gateway-0"), 0, 10)] == ["f2"]
