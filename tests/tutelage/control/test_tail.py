"""The reader of spools: one that cannot be read holds up what waits for its other half, but not for ever."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tutelage.control.made import NOW, exchange
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_join import ROUTES
from tutelage.control.tail import LOST_AFTER, Tail
from tutelage.store.base import Store
from tutelage.store.registry import open_store
from tutelage.store.spool import spool_path

LATE = NOW + 1e6


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/t.db")
    yield opened
    opened.close()


@pytest.fixture
def tail(store: Store, tmp_path: Path) -> Tail:
    """One exchange waits for its other half."""
    spool(tmp_path, "gateway-0", [exchange()])
    found = Tail(store, tmp_path)
    assert not found.read(ROUTES, NOW).excluded
    return found


def reasons(tail: Tail, now: float = LATE) -> list[str]:
    return [exclusion.reason for exclusion in tail.read(ROUTES, now).excluded]


def test_a_spool_that_cannot_be_read_now_holds_up_what_waits(tail: Tail, tmp_path: Path):
    elsewhere = spool_path(tmp_path, "gateway-1")
    elsewhere.mkdir()
    for _ in range(LOST_AFTER + 1):
        assert not reasons(tail)
    assert tail.lost == 0
    elsewhere.rmdir()
    assert reasons(tail) == ["gateway_died"]


def test_a_damaged_spool_is_given_up_and_counted(tail: Tail, tmp_path: Path):
    spool_path(tmp_path, "gateway-1").write_bytes(b"no database at all" * 4096)
    for _ in range(LOST_AFTER - 1):
        assert not reasons(tail)
    assert tail.lost == 0
    assert reasons(tail) == ["gateway_died"]
    assert tail.lost == 1
    spool_path(tmp_path, "gateway-1").unlink()
    tail.read(ROUTES, LATE)
    assert tail.lost == 0
