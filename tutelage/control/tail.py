"""The reader of spools: follows them, has them joined, commits what they come to.

Whatever fails between reading and committing, `Tail` forgets all it has in memory and reads what the store holds:
positions and halves are committed together, so nothing is lost or counted twice. Must not know what makes a pair.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import structlog

from router.types import Direction
from scoring.economics import spendings_of
from tutelage.capture.spooled import read_spooled
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.pairs import Serving
from tutelage.contracts.records import Exchange, Feedback, Spooled, decode_record
from tutelage.control.conclude import JoinRoute, direction_of, is_counted
from tutelage.control.feedback import Attacher, Said
from tutelage.control.join import Halves, Joiner
from tutelage.control.serving import serving_of
from tutelage.store.base import Joined, Store
from tutelage.store.spool import SpoolDamaged, SpooledRow, read_after, read_one, spools

log = structlog.get_logger()

_ROWS_AT_ONCE = 500
_EXPIRE_EVERY_S = 1.0
LOST_AFTER = 300
"""Readings in a row, a minute of them, at which a spool was found damaged: then what waits for it is waited for no longer."""


class Tail:
    """Follows every spool under `data_dir` and commits what the join makes of it."""

    def __init__(self, store: Store, data_dir: Path, watch: Callable[[Spooled], None] = lambda record: None) -> None:
        """`watch` sees every record once it is committed: for counting only."""
        self._store = store
        self._data_dir = data_dir
        self._watch = watch
        self._joiner: Joiner | None = None
        self._attacher = Attacher(self._exchange)
        self._positions: dict[str, int] = {}
        self._expired_at = 0.0
        self._routes: Mapping[str, JoinRoute] = {}
        self._unread: dict[str, int] = {}
        """Spools that could not be read at the last reading, and how often in a row each was found damaged."""
        self.behind = False
        self.unreadable = 0

    def read(self, routes: Mapping[str, JoinRoute], now: float) -> Joined:
        """One batch: up to 500 rows of each spool, one commit. What it came to.

        Raises StoreUnavailable where the store did not take it; the next call begins with what the store holds.
        """
        self._routes = routes
        try:
            joiner = self._joiner or self._recall(now)
            records, positions = self._rows()
            joined = _with_feedback(joiner.join(records, routes, now), self._attacher.take(records))
            joined = replace(
                joined, positions=positions, spent=spendings_of(records), served=_servings(records, routes)
            )
            self._commit(joined)
            self._positions.update(positions)
            for record in records:
                self._watch(record)
            if not (self.behind or self._awaited) and now >= self._expired_at + _EXPIRE_EVERY_S:
                self._expired_at = now
                expired = _with_feedback(joiner.expire(routes, now), self._attacher.expire(now))
                self._commit(expired)
                joined = _both(joined, expired)
        except Exception:
            self.forget()
            raise
        return joined

    def _commit(self, joined: Joined) -> None:
        if any((joined.pairs, joined.excluded, joined.feedback, joined.waiting, joined.done, joined.positions)):
            self._store.join(joined)

    def forget(self) -> None:
        """Drop what is in memory: the next reading begins with what the store holds."""
        self._joiner = None

    @property
    def waiting(self) -> int:
        """Exchanges that wait for their other half."""
        return 0 if self._joiner is None else len(self._joiner.halves.arrived)

    @property
    def lost(self) -> int:
        """Spools that are damaged and no longer waited for. They are read again as soon as they can be."""
        return sum(damaged >= LOST_AFTER for damaged in self._unread.values())

    @property
    def _awaited(self) -> bool:
        """Whether a spool that cannot be read now may still hold the other half of what waits."""
        return len(self._unread) > self.lost

    def overdue(self, before: float) -> Mapping[tuple[str, Direction], int]:
        """By route and direction, the exchanges that ended before `before` and still wait for their other half: of those whose
        pairs would be judged."""
        halves = () if self._joiner is None else self._joiner.halves.exchanges.values()
        return Counter(
            (exchange.route, direction_of(exchange))
            for exchange in halves
            if exchange.admitted_at + exchange.ended_ms / 1000 < before
            and is_counted(exchange, self._routes.get(exchange.route))
        )

    def _recall(self, now: float) -> Joiner:
        halves = Halves()
        self._attacher = Attacher(self._exchange)
        for body in self._store.waiting_halves():
            record = decode_record(body)
            if isinstance(record, Feedback):
                self._attacher.recall(record)
                continue
            halves.take(record, now)
            halves.kept.add(record.id)
        self._positions = dict(self._store.positions())
        self._joiner = Joiner(halves, lambda name: self._store.pair(name) is not None)
        return self._joiner

    def _rows(self) -> tuple[list[Spooled], dict[str, int]]:
        """The next records of all spools, and the positions after them."""
        records: list[Spooled] = []
        positions: dict[str, int] = {}
        self.behind = False
        before, self._unread = self._unread, {}
        for gateway, path in spools(self._data_dir).items():
            try:
                rows = read_after(path, self._positions.get(gateway, 0), _ROWS_AT_ONCE)
            except StoreUnavailable as fault:
                damaged = before.get(gateway, 0) + 1 if isinstance(fault, SpoolDamaged) else 0
                self._unread[gateway] = damaged
                if gateway not in before:
                    log.warning("a spool cannot be read now", gateway=gateway, fault=str(fault))
                if damaged == LOST_AFTER:
                    log.warning("a spool is lost: move its file away", gateway=gateway, fault=str(fault))
                continue
            self.behind = self.behind or len(rows) == _ROWS_AT_ONCE
            if rows:
                positions[gateway] = rows[-1].sequence
                records += filter(None, map(self._decoded, rows))
        return records, positions

    def _exchange(self, name: str) -> Exchange | None:
        """An exchange by its id, from whichever spool holds it."""
        for path in spools(self._data_dir).values():
            with suppress(StoreUnavailable, msgspec.DecodeError):
                body = read_one(path, name)
                record = None if body is None else read_spooled(body)
                if isinstance(record, Exchange):
                    return record
        return None

    def _decoded(self, row: SpooledRow) -> Spooled | None:
        try:
            return read_spooled(row.body)
        except (msgspec.DecodeError, RecursionError) as fault:
            self.unreadable += 1
            log.warning("a spooled record cannot be read; it is counted and skipped", record=row.id, fault=str(fault))
            return None


def _servings(records: Sequence[Spooled], routes: Mapping[str, JoinRoute]) -> list[Serving]:
    """How requests were served, of those that count."""
    exchanges = [record for record in records if isinstance(record, Exchange) and record.route in routes]
    served = (serving_of(exchange, routes[exchange.route]) for exchange in exchanges)
    return [serving for serving in served if serving is not None]


def _with_feedback(joined: Joined, said: Said) -> Joined:
    return replace(
        joined,
        feedback=said.attached,
        unattached=said.dropped,
        waiting={**joined.waiting, **said.waiting},
        done=[*joined.done, *said.done],
    )


def _both(read: Joined, expired: Joined) -> Joined:
    """For counting: what two commits came to."""
    return replace(
        read,
        pairs=[*read.pairs, *expired.pairs],
        excluded=[*read.excluded, *expired.excluded],
        feedback=[*read.feedback, *expired.feedback],
        unattached=[*read.unattached, *expired.unattached],
    )
