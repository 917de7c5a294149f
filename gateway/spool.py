"""The spool: a bounded queue, one thread, group commit. What is committed is durable; what is not is counted.

`Spool.offer` puts a record on a queue (`spool_queue`) bounded in records and bytes; it never blocks and never raises. One
thread (`writer`) looks through what has gathered, translates (`tutelage.capture`) and redacts what must be, prices it, and
commits it to `data_dir/spool/<gateway-id>.db`, at most 256 records or 50 ms at a time. At every moment:

    eligible = durable + dropped{queue_full, disk_full, too_large, redaction_failed, opted_out} + in_queue

A record whose content was lost on the way (`too_large`, `redaction_failed`) counts as dropped, and its row without
content is still written where that is safe (`stubs`), so that pairs can be counted: rows in the file = durable + stubs.

Must not know of requests, routes or the event loop (but for `drain`). The file and its schema: `tutelage/store/spool.py`.
"""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import structlog

from gateway.redact import Redactor
from gateway.spool_queue import Queue, SpoolCounts
from gateway.writer import Writer, connect
from tutelage.capture.raw import Raw
from tutelage.capture.translate import Context
from tutelage.contracts.prices import PriceList
from tutelage.contracts.pseudonyms import load_pseudonyms
from tutelage.contracts.settings import Settings
from tutelage.store.spool import last_sequence, spool_path

log = structlog.get_logger()

CLOSE_S = 2.0


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
        with closing(connect(path)):
            pass
        return last_sequence(path)
    except (sqlite3.Error, OSError) as error:
        log.warning("spool cannot be opened yet", path=str(path), error=str(error))
        return 0
