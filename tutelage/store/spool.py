"""A gateway's spool: its file, its schema, and its reader.

Each gateway process owns one SQLite file, `data_dir/spool/<gateway-id>.db`, and is its only writer
(`gateway/spool.py`): a row that is committed there is durable. Control tails the files by `sequence`, and remembers in
the store how far it has read. A spool outlives its process: what a dead gateway left is read like the rest.

Owns the schema, the listing of spools, reading after a position, the writer's account, retention. Must not know what
the records say.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.contracts.errors import ConfigurationError, StoreUnavailable

SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: a reader's position stays true after a purge
    id       TEXT NOT NULL UNIQUE,               -- the record's own id: writing it again changes nothing
    kind     TEXT NOT NULL,                      -- exchange, shadow or feedback
    route    TEXT NOT NULL,                      -- what retention goes by; empty for feedback, which names none
    at       REAL NOT NULL,                      -- UTC seconds: what retention counts from
    body     BLOB NOT NULL                       -- read by tutelage.capture.spooled.read_spooled
);
CREATE INDEX IF NOT EXISTS records_at ON records (at);
CREATE TABLE IF NOT EXISTS account (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    eligible INTEGER NOT NULL,
    dropped  TEXT NOT NULL                       -- JSON: count by reason
);
"""
INSERT = "INSERT OR IGNORE INTO records (id, kind, route, at, body) VALUES (?, ?, ?, ?, ?)"
"""What the writer executes per record, in its own transaction: (id, kind, route, at, body)."""
KEEP_ACCOUNT = "INSERT OR REPLACE INTO account (id, eligible, dropped) VALUES (1, ?, ?)"
"""What the writer executes in the same transaction: how many records its process was offered, and what it dropped."""


def insert_of(rows: int) -> str:
    """`INSERT` for several records at once, their values one after the other: one statement is one wait for the interpreter."""
    return INSERT + ", (?, ?, ?, ?, ?)" * (rows - 1)


class SpoolDamaged(StoreUnavailable):
    """The file is no spool any more: to read it again helps nobody."""


BUSY_TIMEOUT_S = 5.0
PAGE_BYTES = 16 * 1024
"""Every page is two writes into the log and one into the file: with SQLite's own 4 KiB a record costs twice as much."""
WAL_BYTES = 4 * 2**20
"""Of the log, before the writer's connection puts its pages into the file."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledRow:
    """One durable record. `body` is read by `tutelage.capture.spooled.read_spooled`."""

    sequence: int
    id: str
    kind: str
    at: float
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the process that writes a spool was offered since it began, and what it dropped, by reason."""

    eligible: int
    dropped: Mapping[str, int]


def spool_path(data_dir: Path, gateway: str) -> Path:
    """The file of one gateway process. `gateway` is its id: letters, digits, `-`, `_` and `.`."""
    return data_dir / "spool" / f"{gateway}.db"


def create(connection: sqlite3.Connection) -> None:
    """Make a fresh file a spool, or accept one that is: write-ahead log, every commit on disk before it returns.

    Raises ConfigurationError where another version of the program wrote it.
    """
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, SCHEMA_VERSION):
        raise ConfigurationError(
            f"a spool has schema version {found}, this program reads {SCHEMA_VERSION}: "
            "run the version that wrote it, or move the file away"
        )
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def spools(data_dir: Path) -> dict[str, Path]:
    """The spools there are, by gateway id, those of dead processes included."""
    return {path.stem: path for path in sorted((data_dir / "spool").glob("*.db"))}


def read_after(path: Path, position: int, limit: int) -> Sequence[SpooledRow]:
    """Up to `limit` rows with a sequence above `position`, in order. Raises StoreUnavailable where the file cannot be
    read."""
    rows = _found(
        path,
        "SELECT sequence, id, kind, at, body FROM records WHERE sequence > ? ORDER BY sequence LIMIT ?",
        (position, limit),
    )
    return [SpooledRow(sequence=row[0], id=row[1], kind=row[2], at=row[3], body=bytes(row[4])) for row in rows]


def read_account(path: Path) -> Account | None:
    """The account as of the last commit; None before the first. Raises StoreUnavailable where the file cannot be read."""
    found = _found(path, "SELECT eligible, dropped FROM account")
    return Account(eligible=found[0][0], dropped=json.loads(found[0][1])) if found else None


def read_one(path: Path, record_id: str) -> bytes | None:
    """The body of one record, None where it is not in this file. Raises StoreUnavailable where that cannot be read."""
    found = _found(path, "SELECT body FROM records WHERE id = ?", (record_id,))
    return bytes(found[0][0]) if found else None


def last_sequence(path: Path) -> int:
    """The highest sequence in the file, 0 when it is empty: how far a reader could read."""
    found = _found(path, "SELECT coalesce(max(sequence), 0) FROM records")
    return int(found[0][0]) if found else 0


def purge(path: Path, route: str, before: float, position: int) -> int:
    """Delete a route's rows older than `before` that a reader has passed (`position`); returns how many."""
    deleted = _found(
        path,
        "DELETE FROM records WHERE at < ? AND sequence <= ? AND route = ? RETURNING 1",
        (before, position, route),
    )
    return len(deleted)


def purge_feedback(path: Path, before: float, position: int) -> int:
    """The same for feedback, which names no route."""
    statement = "DELETE FROM records WHERE kind = 'feedback' AND at < ? AND sequence <= ? RETURNING 1"
    return len(_found(path, statement, (before, position)))


def _found(path: Path, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """What a statement finds, by a short-lived connection: a spool may be adopted, moved or deleted between two reads. A file
    whose writer never came to its tables, as on a full disk, holds nothing."""
    try:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)) as connection,
            connection,
        ):
            return connection.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        if str(error).startswith("no such table"):
            return []
        kind = SpoolDamaged if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED else StoreUnavailable
        raise kind(f"spool {path}: {error}") from error
