"""The spool's writer: one thread that takes group after group, redacts what must be, and commits it in one transaction.

Fails closed: what cannot be looked through is written without its content or not at all. A disk that is full and a file that
is locked cost the groups of that time and nothing else. Must not know of requests, routes or the event loop.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import structlog

from gateway.redact import suspects
from gateway.spool_queue import DISK_FULL, Item, Queue
from tutelage.capture.raw import Raw, RawExchange, RawShadow, known_by, without_content
from tutelage.capture.spooled import Packed, row_of, said_in, unpacked
from tutelage.capture.translate import (
    REDACTION_FAILED,
    Captured,
    Context,
    capture_exchange,
    capture_feedback,
    capture_shadow,
    harmless,
    said,
)
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.records import Feedback, Spooled, encode
from tutelage.contracts.redaction import RedactionFailed
from tutelage.store.private import make_private
from tutelage.store.spool import KEEP_ACCOUNT, PAGE_BYTES, SCHEMA_VERSION, WAL_BYTES, create, insert_of

log = structlog.get_logger()

STATEMENT_RECORDS = 64
"""SQLite gives the interpreter back for every statement that it executes, and to take it again costs a wait."""
PAUSE_S = 50e-6
PAUSE_EVERY = 128
"""After so many records, in one to two milliseconds, the interpreter is given to the event loop, which else waits for it up to
5 ms. To take it back costs both threads more than records do: their working sets push each other out of the core's cache.
With a full group waiting the thread only offers to give way."""
BUSY_S = 0.5
RETRY_AFTER_S = (0.05, 0.2, 0.5)

Row = tuple[str, str, str, float, bytes]


class Writer:
    """The thread's work: group after group into the file. The connection is the thread's own, made again after a failure."""

    def __init__(self, path: Path, queue: Queue, context: Callable[[], Context]) -> None:
        self._path = path
        self._queue = queue
        self._context = context
        self._connection: sqlite3.Connection | None = None
        self.hurry = threading.Event()

    def run(self) -> None:
        """The thread: until the queue is closed and empty."""
        while group := self._queue.take():
            if self.hurry.is_set():
                self._queue.settle(group, [DISK_FULL] * len(group), 0)
                del group
                continue
            rows, fates = self._translated(group)
            if self._written(rows):
                self._queue.settle(group, fates, len(rows) - fates.count(None))
            else:
                self._queue.settle(group, [DISK_FULL] * len(group), 0)
            del group, rows, fates  # kept while nothing comes, they would be memory for nothing
        self._finish()

    def _translated(self, group: Sequence[Item]) -> tuple[list[Row], list[str | None]]:
        """The rows to be written, and per item why its content is not durable (None: it is)."""
        context, doubtful = self._context(), _doubtful(group)
        without = harmless(context)
        rows: list[Row] = []
        fates: list[str | None] = []
        for place, item in enumerate(group):
            row, lost = _row(item, context) if place in doubtful else _plain_row(item, without)
            fates.append(lost)
            if row is not None:
                rows.append(row)
            if place % PAUSE_EVERY == PAUSE_EVERY - 1:
                time.sleep(0 if self._queue.behind else PAUSE_S)
        return rows, fates

    def _written(self, rows: list[Row]) -> bool:
        """Commit `rows`; False where the file did not take them after the last retry."""
        for wait_s in (*RETRY_AFTER_S, None):
            try:
                self._commit(rows)
            except (sqlite3.Error, OSError, ConfigurationError) as error:
                self._disconnect()
                if wait_s is None or self.hurry.wait(wait_s):
                    log.warning("spool batch dropped", path=str(self._path), records=len(rows), error=str(error))
                    return False
            else:
                return True
        return False

    def _commit(self, rows: list[Row]) -> None:
        if self._connection is None:
            self._connection = connect(self._path)
        with self._connection as transaction:
            for begin in range(0, len(rows), STATEMENT_RECORDS):
                some = rows[begin : begin + STATEMENT_RECORDS]
                transaction.execute(insert_of(len(some)), list(chain.from_iterable(some)))
            counts = self._queue.counts()
            transaction.execute(KEEP_ACCOUNT, (counts.eligible, json.dumps(counts.dropped)))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _finish(self) -> None:
        """The log goes into the file, so that the file alone is everything."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._disconnect()


def connect(path: Path) -> sqlite3.Connection:
    make_private(path)
    connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            create(connection)
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES // PAGE_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _doubtful(group: Sequence[Item]) -> Container[int]:
    """The places of the records out of which something may have to be taken."""
    texts = [said_in(item.raw) if isinstance(item.raw, Packed) else said(item.raw) for item in group]
    try:
        found = suspects([text or b"" for text in texts])
    except RedactionFailed:
        return range(len(group))
    return found | {place for place, text in enumerate(texts) if text is None}


def _plain_row(item: Item, context: Context) -> tuple[Row | None, str | None]:
    """As `_row`, for an item out of whose texts nothing need be taken."""
    packed = item.raw
    if isinstance(packed, Packed):
        try:
            body = row_of(packed, item.number, context)
        except Exception as fault:  # noqa: BLE001 - the loop over items: it is translated instead
            log.warning("record not written as it came", record=packed.id, error=type(fault).__name__)
        else:
            if body is not None:
                return (*packed.known_by, body), None
    return _row(item, context)


def _row(item: Item, context: Context) -> tuple[Row | None, str | None]:
    """An item as a row, translated, and why its content is not in it.

    What cannot be translated is written without content, what cannot even then is not written: content that nobody could
    look through is never durable. What went wrong is told by its type only: messages may hold content.
    """
    try:
        raw = _opened(item)
        return _encoded(raw, _captured(raw, item.number, context), item.lost)
    except Exception as fault:  # noqa: BLE001 - the loop over items: no record may stop the writer
        log.warning("record not translated", record=item.raw.id, error=type(fault).__name__)
    try:
        raw = _opened(item)
        if isinstance(raw, Feedback):
            return None, REDACTION_FAILED
        bare = without_content(raw, REDACTION_FAILED)
        return _encoded(bare, _captured(bare, item.number, context), REDACTION_FAILED)
    except Exception as fault:  # noqa: BLE001 - as above
        log.warning("record not written", record=item.raw.id, error=type(fault).__name__)
        return None, REDACTION_FAILED


def _opened(item: Item) -> Raw:
    return unpacked(item.raw) if isinstance(item.raw, Packed) else item.raw


def _captured(raw: Raw, number: int, context: Context) -> Captured[Spooled]:
    if isinstance(raw, RawExchange):
        return capture_exchange(raw, number, context)
    if isinstance(raw, RawShadow):
        return capture_shadow(raw, context)
    return capture_feedback(raw, context)


def _encoded(raw: Raw, captured: Captured[Spooled], lost: str | None) -> tuple[Row, str | None]:
    return (*known_by(raw), encode(captured.record)), lost or captured.lost
