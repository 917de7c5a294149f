import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tutelage.contracts.errors import ConfigurationError, StoreUnavailable
from tutelage.store import spool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = spool.spool_path(tmp_path, "gateway-0")
    made.parent.mkdir()
    return made


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    """The gateway's own connection, open while others read."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        spool.create(connection)
        yield connection


def write(writer: sqlite3.Connection, *names: str, route: str = "triage", at: float = 1.0) -> None:
    rows = [(name, "exchange", route, at, b"{}") for name in names]
    writer.executemany(spool.INSERT, rows)


def ids(rows: Sequence[spool.SpooledRow]) -> list[str]:
    return [row.id for row in rows]


def test_rows_are_read_in_order_after_a_position(path: Path, writer: sqlite3.Connection):
    write(writer, "a", "b", "c")
    assert ids(spool.read_after(path, 0, 2)) == ["a", "b"]
    [row] = spool.read_after(path, 2, 10)
    assert row == spool.SpooledRow(sequence=3, id="c", kind="exchange", at=1.0, body=b"{}")
    assert spool.last_sequence(path) == 3


def test_a_record_written_twice_is_there_once(path: Path, writer: sqlite3.Connection):
    write(writer, "a", "b", "a")
    assert ids(spool.read_after(path, 0, 10)) == ["a", "b"]


def test_a_purge_keeps_what_no_reader_has_passed_and_other_routes(path: Path, writer: sqlite3.Connection):
    write(writer, "old")
    write(writer, "elsewhere", route="other")
    write(writer, "unread")
    write(writer, "new", at=9.0)
    assert spool.purge(path, "triage", before=5.0, position=2) == 1
    assert ids(spool.read_after(path, 0, 10)) == ["elsewhere", "unread", "new"]


def test_sequences_are_never_used_twice(path: Path, writer: sqlite3.Connection):
    write(writer, "a", "b")
    spool.purge(path, "triage", before=5.0, position=2)
    assert spool.last_sequence(path) == 0
    write(writer, "c")
    assert [row.sequence for row in spool.read_after(path, 2, 10)] == [3]


def test_spools_are_listed_by_gateway(tmp_path: Path, path: Path, writer: sqlite3.Connection):
    assert spool.spools(tmp_path) == {"gateway-0": path}
    assert spool.spools(tmp_path / "nowhere") == {}


def test_a_spool_that_is_gone_is_unavailable_and_not_made_again(tmp_path: Path):
    missing = tmp_path / "gone.db"
    with pytest.raises(StoreUnavailable, match=r"gone\.db"):
        spool.read_after(missing, 0, 1)
    assert not missing.exists()


def test_a_spool_of_another_version_is_refused(path: Path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
        with pytest.raises(ConfigurationError, match=f"schema version 7, this program reads {spool.SCHEMA_VERSION}"):
            spool.create(connection)


@pytest.mark.parametrize(
    "began", ["", "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL;"], ids=["empty", "log only"]
)
def test_a_spool_whose_writer_never_came_to_its_tables_holds_nothing(path: Path, began: str):
    path.touch()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(began)
        found = (
            spool.read_after(path, 0, 10),
            spool.read_account(path),
            spool.read_one(path, "a"),
            spool.last_sequence(path),
        )
        assert found == ([], None, None, 0)
        assert (spool.purge(path, "triage", 9.0, 9), spool.purge_feedback(path, 9.0, 9)) == (0, 0)
