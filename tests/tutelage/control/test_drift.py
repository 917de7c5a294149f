from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.tutelage.control.made import NOW, ROUTE, epoch, settings
from tests.tutelage.control.test_chores import LEASE
from tutelage.contracts.pairs import AnchorReading
from tutelage.contracts.signals import Watch
from tutelage.contracts.snapshot import Snapshot
from tutelage.control.drift import EVERY_S, JudgeDrift
from tutelage.control.gates import facts_of
from tutelage.control.health import Health
from tutelage.control.snapshot import published
from tutelage.store.base import QueueDepth, Store
from tutelage.store.registry import open_store

JUDGED = epoch(judge="claude@j1", rubric="clear@1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/t.db")
    yield opened
    opened.close()


def snapshot(**epochs: Any) -> Snapshot:
    return Snapshot(
        generation=1, sequence=1, config=published(settings(), NOW), rollouts={}, samplings={}, epochs=epochs, keys=()
    )


def readings(store: Store, count: int, drift: float, *, name: str, version: str = "j1") -> None:
    store.put_readings(
        [
            AnchorReading(
                id=f"{name}-{n}",
                route=ROUTE,
                rubric="clear@1",
                anchor=f"anchor-{n}",
                at=NOW,
                d=2 * drift,
                reference_d=0.0,
                label_d=None,
                judge="claude",
                judge_version=version,
                prompt_hash="p",
            )
            for n in range(count)
        ]
    )


def alarm(watched: JudgeDrift) -> str | None:
    seen = watched.watch(ROUTE)
    return seen.words if seen is not None and seen.alarm else None


def test_a_judge_that_reads_labelled_pairs_otherwise_than_at_first_is_an_alarm(store: Store):
    watched, now = JudgeDrift(store), snapshot(**{ROUTE: JUDGED})
    readings(store, 200, 0.0, name="even")
    watched.do(now, LEASE, NOW)
    assert alarm(watched) is None
    readings(store, 80, 0.2, name="kinder")
    watched.do(now, LEASE, NOW + 1)
    assert alarm(watched) is None  # not looked at yet
    watched.do(now, LEASE, NOW + EVERY_S)
    assert "over 280 readings" in str(alarm(watched))
    again = JudgeDrift(store)
    again.do(now, LEASE, NOW)
    assert alarm(again) == alarm(watched)


def test_a_part_is_held_by_what_the_judge_of_its_route_reads(store: Store):
    watched = JudgeDrift(store)
    readings(store, 80, 0.2, name="kinder")
    watched.do(snapshot(**{ROUTE: JUDGED, f"{ROUTE}:gold": JUDGED}), LEASE, NOW)
    assert watched.watch(f"{ROUTE}:gold") == watched.watch(ROUTE)
    assert alarm(watched) is not None


def test_another_judge_is_another_watch(store: Store):
    watched = JudgeDrift(store)
    readings(store, 80, -0.2, name="stricter")
    watched.do(snapshot(**{ROUTE: JUDGED}), LEASE, NOW)
    assert alarm(watched) is not None
    other = structs.replace(JUDGED, id="e2", judge="claude@j2")
    watched.do(snapshot(**{ROUTE: other}), LEASE, NOW + EVERY_S)
    assert alarm(watched) is None


def test_drift_is_a_fact_that_holds(store: Store, tmp_path: Path):
    health = Health(tmp_path, lambda before: {}, lambda route: Watch(words=f"{route} drifts", alarm=True))
    facts = facts_of(QueueDepth(), {}, NOW, health.of(ROUTE, NOW))
    assert facts.judge_drift == f"{ROUTE} drifts"
