"""The spool's writer: a bounded queue, one thread, group commit. What is committed is durable; what is not is counted.

`Spool.offer` puts a reference on a queue bounded in records and bytes; it never blocks and never raises. One thread
translates (`capture`), redacts, prices, encodes and commits what has gathered into `data_dir/spool/<gateway-id>.db`, at
most 256 records or 50 ms at a time. At every moment:

    eligible = durable + dropped{queue_full, disk_full, too_large, redaction_failed, opted_out} + in_queue

A record whose content was lost on the way (`too_large`, `redaction_failed`) counts as dropped, and its row without
content is still written where that is safe (`stubs`), so that pairs can be counted: rows in the file = durable + stubs.
A disk that is full and a file that is locked cost the batches of that time and nothing else.

Must not know of requests, routes or the event loop (but for `drain`). The file and its schema: `tutelage/store/spool.py`.
"""

import asyncio
import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import structlog

from gateway.capture import (
    OFF,
    REDACTION_FAILED,
    TOO_LARGE,
    Captured,
    Context,
    RawExchange,
    RawShadow,
    capture_exchange,
    capture_feedback,
    capture_shadow,
    harmless,
    said,
    without_content,
)
from gateway.redact import RedactionFailed, Redactor, suspects
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.prices import PriceList
from tutelage.contracts.pseudonyms import load_pseudonyms
from tutelage.contracts.records import Feedback, Spooled, encode
from tutelage.contracts.settings import Settings
from tutelage.store.spool import (
    KEEP_ACCOUNT,
    PAGE_BYTES,
    SCHEMA_VERSION,
    WAL_BYTES,
    create,
    insert_of,
    last_sequence,
    spool_path,
)

log = structlog.get_logger()

QUEUE_FULL = "queue_full"
DISK_FULL = "disk_full"
OPTED_OUT = "opted_out"
REASONS = (QUEUE_FULL, DISK_FULL, TOO_LARGE, REDACTION_FAILED, OPTED_OUT)

GROUP_RECORDS = 256
GROUP_BYTES = 16 * 2**20
STATEMENT_RECORDS = 64
"""SQLite gives the interpreter back for every statement that it executes, and to take it again costs a wait."""
GATHER_S = 0.04
RECORD_BYTES = 2048
"""What a record weighs in the queue beside its body and its answers."""
PAUSE_S = 50e-6
PAUSE_EVERY = 16
"""After so many records the interpreter is given to the event loop, which else waits for it up to 5 ms, several times
over. To take it back costs more than a record's work, so not too often. With a full group waiting the thread only offers to
give way."""
BUSY_S = 0.5
RETRY_AFTER_S = (0.05, 0.2, 0.5)
CLOSE_S = 2.0

Raw = RawExchange | RawShadow | Feedback
Row = tuple[str, str, float, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolCounts:
    """The state of the conservation law. `stubs` are rows without their content, part of `dropped`."""

    eligible: int
    durable: int
    dropped: Mapping[str, int]
    in_queue: int
    stubs: int
    queue_bytes: int

    @property
    def balance(self) -> int:
        """0, always."""
        return self.eligible - self.durable - sum(self.dropped.values()) - self.in_queue


@dataclass(frozen=True, slots=True)
class Item:
    """A record in the queue. `lost` is set where it came without its content already."""

    raw: Raw
    number: int
    weight: int
    lost: str | None = None


@dataclass(slots=True)
class Batch:
    """What one transaction writes: rows, and per item what became of it (None: durable)."""

    rows: list[Row] = field(default_factory=list)
    fates: list[str | None] = field(default_factory=list)
    stubs: int = 0

    def add(self, row: Row | None, lost: str | None) -> None:
        self.fates.append(lost)
        if row is not None:
            self.rows.append(row)
            self.stubs += lost is not None


class Queue:
    """The queue and its counts, under one lock that is held for microseconds only."""

    def __init__(self, *, records: int, weight: int, first_number: int) -> None:
        self._records = records
        self._weight = weight
        self._number = first_number
        self._lock = threading.Lock()
        self._items: deque[Item] = deque()
        self._some = threading.Event()
        self._many = threading.Event()
        self._closing = False
        self._eligible = self._durable = self._stubs = self._held = self._held_weight = 0
        self._dropped = dict.fromkeys(REASONS, 0)

    def put(self, raw: Raw) -> None:
        """Take `raw`, or count why not."""
        weight, lost = _weight(raw), None
        if weight > self._weight and not isinstance(raw, Feedback):
            raw, weight, lost = without_content(raw, TOO_LARGE), RECORD_BYTES, TOO_LARGE
        with self._lock:
            self._eligible += 1
            self._number += 1
            if not isinstance(raw, Feedback) and raw.policy.log == OFF:
                self._dropped[OPTED_OUT] += 1
            elif self._closing or self._held >= self._records or self._held_weight + weight > self._weight:
                self._dropped[QUEUE_FULL] += 1
            else:
                self._held += 1
                self._held_weight += weight
                self._items.append(Item(raw, self._number, weight, lost))
                if len(self._items) == 1:
                    self._some.set()
                elif len(self._items) == GROUP_RECORDS:
                    self._many.set()

    def take(self) -> list[Item]:
        """The next group, when there is one: after `GATHER_S`, or as soon as it is full. Empty when all is done."""
        self._some.wait()
        self._many.wait(GATHER_S)
        with self._lock:
            group: list[Item] = []
            weight = 0
            while self._items and len(group) < GROUP_RECORDS and weight < GROUP_BYTES:
                group.append(self._items.popleft())
                weight += group[-1].weight
            if not self._closing:
                if not self._items:
                    self._some.clear()
                if len(self._items) < GROUP_RECORDS:
                    self._many.clear()
            return group

    def settle(self, group: Iterable[Item], fates: Iterable[str | None], stubs: int) -> None:
        """Every item of `group` has met its fate: durable (None) or dropped for a reason."""
        with self._lock:
            self._stubs += stubs
            for item, fate in zip(group, fates, strict=True):
                self._held -= 1
                self._held_weight -= item.weight
                if fate is None:
                    self._durable += 1
                else:
                    self._dropped[fate] += 1

    @property
    def behind(self) -> bool:
        """Whether another full group is waiting already, or the end of the process is."""
        return self._many.is_set()

    def close(self) -> None:
        """Nothing more is taken in; `take` empties what is there without gathering."""
        with self._lock:
            self._closing = True
            self._some.set()
            self._many.set()

    def counts(self) -> SpoolCounts:
        with self._lock:
            return SpoolCounts(
                eligible=self._eligible,
                durable=self._durable,
                dropped=dict(self._dropped),
                in_queue=self._held,
                stubs=self._stubs,
                queue_bytes=self._held_weight,
            )


class Writer:
    """The thread's work: group after group into the file. The connection is the thread's own, made again after a failure."""

    def __init__(self, path: Path, queue: Queue, context: Callable[[], Context]) -> None:
        self._path = path
        self._queue = queue
        self._context = context
        self._connection: sqlite3.Connection | None = None
        self.hurry = threading.Event()

    def run(self) -> None:
        while group := self._queue.take():
            if self.hurry.is_set():
                self._queue.settle(group, [DISK_FULL] * len(group), 0)
                del group
                continue
            batch = self._translated(group)
            if self._written(batch.rows):
                self._queue.settle(group, batch.fates, batch.stubs)
            else:
                self._queue.settle(group, [DISK_FULL] * len(group), 0)
            del group, batch  # kept while nothing comes, they would be memory for nothing
        self._finish()

    def _translated(self, group: Sequence[Item]) -> Batch:
        batch = Batch()
        context, doubtful = self._context(), _doubtful(group)
        without = harmless(context)
        for place, item in enumerate(group):
            batch.add(*_row(item, context if place in doubtful else without))
            if place % PAUSE_EVERY == PAUSE_EVERY - 1:
                time.sleep(0 if self._queue.behind else PAUSE_S)
        return batch

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
            self._connection = _connect(self._path)
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


class Spool:
    """One gateway process's records on their way to its file. Made by `open_spool`, ended by `drain`."""

    def __init__(self, *, path: Path, queue: Queue, context: Context) -> None:
        self._context = context
        self._queue = queue
        self._writer = Writer(path, queue, lambda: self._context)
        self._thread = threading.Thread(target=self._writer.run, name="spool", daemon=True)
        self._thread.start()

    def offer(self, raw: Raw, /) -> None:
        """Take a record over. Never blocks, never raises; whatever becomes of it is counted."""
        self._queue.put(raw)

    def counts(self) -> SpoolCounts:
        """The counts as of one moment: they balance."""
        return self._queue.counts()

    def price_by(self, prices: PriceList) -> None:
        """Records translated from now on are priced by this list: the configuration has changed."""
        self._context = Context(
            gateway=self._context.gateway,
            pseudonyms=self._context.pseudonyms,
            redact=self._context.redact,
            price=prices.price,
        )

    async def drain(self, deadline_s: float) -> SpoolCounts:
        """Take nothing more in, write what is there, end the thread and close the file.

        What the deadline cuts is dropped, counted as `disk_full`: only a disk that does not take it makes that happen.
        """
        self._queue.close()
        await asyncio.to_thread(self._thread.join, deadline_s)
        if self._thread.is_alive():
            self._writer.hurry.set()
            await asyncio.to_thread(self._thread.join, CLOSE_S)
        return self.counts()


def open_spool(settings: Settings, gateway_id: str) -> Spool:
    """The spool of one gateway process, its thread running. `gateway_id`: letters, digits, `-`, `_` and `.`.

    Raises ConfigurationError where another version of the program wrote the file, or `data_dir` cannot be used. A disk
    that is full now is not an error: serving does not depend on it.
    """
    data_dir = Path(settings.data_dir)
    path = spool_path(data_dir, gateway_id)
    context = Context(
        gateway=gateway_id,
        pseudonyms=(pseudonyms := load_pseudonyms(data_dir)),
        redact=Redactor(pseudonyms).redact,
        price=PriceList(settings.upstreams).price,
    )
    queue = Queue(
        records=settings.limits.spool_records,
        weight=int(settings.limits.spool_mb * 2**20),
        first_number=_prepare(path),
    )
    return Spool(path=path, queue=queue, context=context)


def _prepare(path: Path) -> int:
    """Make the file where there is none; the sequence of its last row."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(_connect(path)):
            pass
        return last_sequence(path)
    except (sqlite3.Error, OSError) as error:
        log.warning("spool cannot be opened yet", path=str(path), error=str(error))
        return 0


def _connect(path: Path) -> sqlite3.Connection:
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


def _weight(raw: Raw) -> int:
    if isinstance(raw, Feedback):
        return RECORD_BYTES + (len(raw.value) if isinstance(raw.value, str) else 0)
    attempts = raw.attempts if isinstance(raw, RawExchange) else (raw.attempt,) if raw.attempt is not None else ()
    return RECORD_BYTES + len(raw.body) + sum(sum(map(len, attempt.chunks)) for attempt in attempts)


def _doubtful(group: Sequence[Item]) -> Container[int]:
    """The places of the records out of which something may have to be taken."""
    texts = [said(item.raw) for item in group]
    try:
        found = suspects([text or b"" for text in texts])
    except RedactionFailed:
        return range(len(group))
    return found | {place for place, text in enumerate(texts) if text is None}


def _row(item: Item, context: Context) -> tuple[Row | None, str | None]:
    """An item as a row, and why its content is not in it.

    What cannot be translated is written without content, what cannot even then is not written: content that nobody could
    look through is never durable. What went wrong is told by its type only: messages may hold content.
    """
    try:
        return _encoded(_captured(item.raw, item.number, context), item.lost)
    except Exception as fault:  # noqa: BLE001 - the loop over items: no record may stop the writer
        log.warning("record not translated", record=item.raw.id, error=type(fault).__name__)
    if isinstance(item.raw, Feedback):
        return None, REDACTION_FAILED
    try:
        bare = without_content(item.raw, REDACTION_FAILED)
        return _encoded(_captured(bare, item.number, context), REDACTION_FAILED)
    except Exception as fault:  # noqa: BLE001 - as above
        log.warning("record not written", record=item.raw.id, error=type(fault).__name__)
        return None, REDACTION_FAILED


def _captured(raw: Raw, number: int, context: Context) -> Captured[Spooled]:
    if isinstance(raw, RawExchange):
        return capture_exchange(raw, number, context)
    if isinstance(raw, RawShadow):
        return capture_shadow(raw, context)
    return capture_feedback(raw, context)


def _encoded(captured: Captured[Spooled], lost: str | None) -> tuple[Row, str | None]:
    record = captured.record
    kind = str(record.__struct_config__.tag)
    return (record.id, kind, captured.at, encode(record)), lost or captured.lost
