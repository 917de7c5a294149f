"""Pairs on SQLite: the join, the queue between control and workers, judgements, retention.

Owns the rows of `base.PairStore`. Must not know what a pair says, besides the fields that stand in columns. The state of
a pair is queued, judged, folded (by a gate) or excluded; a claimed pair is queued and invisible until its time.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from router.types import Direction
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.records import Feedback, Spending, encode
from tutelage.store.base import Attached, Claimed, Joined, QueueDepth
from tutelage.store.database import Database

DAY_S = 86_400

_pair = msgspec.json.Decoder(Pair)
_feedback = msgspec.json.Decoder(Feedback)
_judgement = msgspec.json.Decoder(Judgement)


class SqlitePairs:
    """`base.PairStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def positions(self) -> Mapping[str, int]:
        with self._database.read() as connection:
            return dict(connection.execute("SELECT spool, position FROM positions").fetchall())

    def join(self, joined: Joined) -> None:
        waiting = [(record, exchange, body) for (record, exchange), body in joined.waiting.items()]
        with self._database.write() as connection:
            for pair in joined.pairs:
                _queue(connection, pair)
            connection.executemany(
                _EXCLUDE,
                [
                    (row.id, row.route, row.epoch, row.direction, row.reason, row.revision, row.at)
                    for row in joined.excluded
                ],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO servings (id, route, unit, at, body) VALUES (?, ?, ?, ?, ?)",
                [(row.id, row.route, row.unit, row.at, encode(row)) for row in joined.served],
            )
            for attached in joined.feedback:
                _attach(connection, attached)
            connection.executemany("INSERT OR REPLACE INTO waiting (id, exchange_id, body) VALUES (?, ?, ?)", waiting)
            connection.executemany("DELETE FROM waiting WHERE id = ?", [(record,) for record in joined.done])
            connection.executemany(
                "INSERT OR REPLACE INTO positions (spool, position) VALUES (?, ?)", list(joined.positions.items())
            )
            connection.executemany(
                SPEND, [(row.route, row.day, row.account, row.calls, row.unpriced, row.nusd) for row in joined.spent]
            )

    def waiting_halves(self) -> Sequence[bytes]:
        with self._database.read() as connection:
            return [body for (body,) in connection.execute("SELECT body FROM waiting ORDER BY rowid")]

    def claim(self, worker: str, limit: int, visible_after_s: float, now: float) -> Sequence[Claimed]:
        until = now + visible_after_s
        with self._database.write() as connection:
            rows = connection.execute(_CLAIMABLE, (now, limit)).fetchall()
            connection.executemany(
                "UPDATE pairs SET visible_at = ?, deliveries = deliveries + 1 WHERE rank = ?",
                [(until, rank) for rank, _, _ in rows],
            )
            pairs = [(_pair.decode(body), before + 1) for _, before, body in rows]
            said = [_correction(connection, pair) for pair, _ in pairs]
        return [
            Claimed(pair=pair, until=until, deliveries=deliveries, correction=correction)
            for (pair, deliveries), correction in zip(pairs, said, strict=True)
        ]

    def judged(self, judgements: Sequence[Judgement]) -> None:
        rows = [(row.rubric, row.method, row.scored_at, encode(row), row.pair_id) for row in judgements]
        with self._database.write() as connection:
            connection.executemany(_UPSERT_JUDGEMENT, rows)
            connection.executemany(
                _SPEND_ON_JUDGE,
                [
                    (int(row.scored_at // DAY_S), row.cost_nusd is None, row.cost_nusd or 0, row.pair_id)
                    for row in judgements
                    if row.judge is not None
                ],
            )
            connection.executemany(
                "UPDATE pairs SET state = 'judged' WHERE id = ? AND state = 'queued'",
                [(row.pair_id,) for row in judgements],
            )

    def requeue(self, pair_id: str, not_before: float) -> None:
        with self._database.write() as connection:
            connection.execute(
                "UPDATE pairs SET visible_at = ? WHERE id = ? AND state = 'queued'", (not_before, pair_id)
            )

    def pair(self, pair_id: str) -> Pair | None:
        statement = "SELECT body FROM pairs JOIN pair_bodies USING (rank) WHERE id = ?"
        with self._database.read() as connection:
            found = connection.execute(statement, (pair_id,)).fetchone()
        return None if found is None else _pair.decode(found[0])

    def pairs(self, route: str, limit: int, before: float | None = None) -> Sequence[Pair]:
        with self._database.read() as connection:
            rows = connection.execute(_NEWEST, (route, _FOREVER if before is None else before, limit)).fetchall()
        return [_pair.decode(body) for (body,) in rows]

    def judgements(self, pair_id: str) -> Sequence[Judgement]:
        statement = """
            SELECT body FROM judgements WHERE rank = (SELECT rank FROM pairs WHERE id = ?) ORDER BY judgements.rowid
        """
        with self._database.read() as connection:
            return [_judgement.decode(body) for (body,) in connection.execute(statement, (pair_id,))]

    def feedback(self, exchange_id: str) -> Sequence[Feedback]:
        statement = "SELECT body FROM feedback WHERE exchange_id = ? ORDER BY at, id"
        with self._database.read() as connection:
            return [_feedback.decode(body) for (body,) in connection.execute(statement, (exchange_id,))]

    def depth(self, route: str) -> QueueDepth:
        states: Counter[str] = Counter()
        reasons: dict[str, int] = {}
        with self._database.read() as connection:
            for state, reason, count in connection.execute(_COUNTS, (route,)):
                states[state] += count
                if state == "excluded":
                    reasons[reason] = count
            [oldest] = connection.execute(_OLDEST, (route,)).fetchone()
        return QueueDepth(
            waiting=states["queued"],
            oldest_admitted_at=oldest,
            scored=states["judged"] + states["folded"],
            by_exclusion=reasons,
        )

    def losses(self, route: str, epoch: str, since_revision: int) -> Mapping[Direction, Mapping[str, int]]:
        found: dict[Direction, dict[str, int]] = {}
        with self._database.read() as connection:
            rows = connection.execute(_LOSSES, (route, epoch, since_revision)).fetchall()
        for direction, reason, count in rows:
            found.setdefault(Direction(direction), {})[reason] = count
        return found

    def traffic(self, route: str, direction: Direction, admitted_after: float) -> int:
        statement = """
            SELECT count(*) FROM pairs WHERE route = ? AND admitted_at > ? AND direction = ? AND state != 'excluded'
        """
        with self._database.read() as connection:
            return int(connection.execute(statement, (route, admitted_after, direction.value)).fetchone()[0])

    def spending(self, route: str) -> Sequence[Spending]:
        statement = "SELECT day, account, calls, unpriced, nusd FROM spending WHERE route = ? ORDER BY day, account"
        with self._database.read() as connection:
            rows = connection.execute(statement, (route,)).fetchall()
        return [
            Spending(route=route, day=day, account=account, calls=calls, unpriced=unpriced, nusd=nusd)
            for day, account, calls, unpriced, nusd in rows
        ]

    def purge(self, route: str, admitted_before: float) -> int:
        with self._database.write() as connection:
            for table in ("pair_bodies", "judgements"):
                connection.execute(f"DELETE FROM {table} WHERE rank IN ({_PAST})", (route, admitted_before))  # noqa: S608
            for table in ("feedback", "corrections"):
                connection.execute(f"DELETE FROM {table} WHERE route = ? AND at < ?", (route, admitted_before))  # noqa: S608
            for table in ("exclusions", "servings"):
                connection.execute(f"DELETE FROM {table} WHERE route = ? AND at < ?", (route, admitted_before))  # noqa: S608
            connection.execute(_PURGE_WAITING, (route, admitted_before))
            statement = "DELETE FROM pairs WHERE route = ? AND admitted_at < ?"
            return connection.execute(statement, (route, admitted_before)).rowcount


_EXCLUDE = """
    INSERT OR IGNORE INTO exclusions (id, route, epoch, direction, reason, revision, at) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_LOSSES = """
    SELECT direction, reason, count(*) FROM exclusions INDEXED BY exclusions_counted
    WHERE route = ? AND epoch = ? AND direction IS NOT NULL AND revision >= ? GROUP BY direction, reason
"""
_CORRECT = """
    INSERT INTO corrections (route, input_hash, at, value) VALUES (?, ?, ?, ?)
    ON CONFLICT (route, input_hash) DO UPDATE SET at = excluded.at, value = excluded.value WHERE excluded.at >= at
"""
_FOREVER = float("inf")
_PAST = "SELECT rank FROM pairs WHERE route = ? AND admitted_at < ?"
_QUEUE = """
    INSERT INTO pairs (id, route, direction, sticky_key, admitted_at, state, excluded)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
_CLAIMABLE = """
    SELECT rank, deliveries, body FROM pairs INDEXED BY pairs_queued JOIN pair_bodies USING (rank)
    WHERE state = 'queued' AND visible_at <= ? ORDER BY admitted_at, id LIMIT ?
"""
_UPSERT_JUDGEMENT = """
    INSERT INTO judgements (rank, rubric, method, scored_at, body)
    SELECT rank, ?1, ?2, ?3, ?4 FROM pairs WHERE id = ?5 AND (state != 'folded' OR ?2 = 'human')
    ON CONFLICT (rank, rubric, method) DO UPDATE SET scored_at = excluded.scored_at, body = excluded.body
"""
_NEWEST = """
    SELECT body FROM pairs JOIN pair_bodies USING (rank) WHERE route = ? AND admitted_at < ?
    ORDER BY admitted_at DESC, id DESC LIMIT ?
"""
_COUNTS = "SELECT state, reason, n FROM counts WHERE route = ? AND n > 0"
_OLDEST = "SELECT min(admitted_at) FROM pairs INDEXED BY pairs_waiting WHERE route = ? AND state = 'queued'"
_PURGE_WAITING = """
    DELETE FROM waiting WHERE json_extract(CAST(body AS TEXT), '$.route') = ? AND
    coalesce(json_extract(CAST(body AS TEXT), '$.admitted_at'), json_extract(CAST(body AS TEXT), '$.ended_at')) < ?
"""


def _queue(connection: sqlite3.Connection, pair: Pair) -> None:
    """Write a pair that is not there yet: to the queue, or aside where it is excluded."""
    state = "queued" if pair.excluded is None else "excluded"
    direction = pair.direction.value
    row = (pair.id, pair.route, direction, pair.sticky_key, pair.admitted_at, state, pair.excluded)
    written = connection.execute(_QUEUE, row)
    if written.rowcount:
        connection.execute("INSERT INTO pair_bodies (rank, body) VALUES (?, ?)", (written.lastrowid, encode(pair)))


def _attach(connection: sqlite3.Connection, attached: Attached) -> None:
    """Write feedback that is not there yet; a correction is also the reference of its input."""
    said = attached.feedback
    row = (said.id, said.exchange_id, attached.route, said.at, encode(said))
    statement = "INSERT OR IGNORE INTO feedback (id, exchange_id, route, at, body) VALUES (?, ?, ?, ?, ?)"
    connection.execute(statement, row)
    if said.type == "correction" and attached.input_hash is not None:
        connection.execute(_CORRECT, (attached.route, attached.input_hash, said.at, said.value))


def _correction(connection: sqlite3.Connection, pair: Pair) -> str | None:
    statement = "SELECT value FROM corrections WHERE route = ? AND input_hash = ?"
    found = connection.execute(statement, (pair.route, pair.input_hash)).fetchone()
    return None if found is None else str(found[0])


SPEND = """
    INSERT INTO spending (route, day, account, calls, unpriced, nusd) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (route, day, account) DO UPDATE SET
        calls = calls + excluded.calls, unpriced = unpriced + excluded.unpriced, nusd = nusd + excluded.nusd
"""

_SPEND_ON_JUDGE = """
    INSERT INTO spending (route, day, account, calls, unpriced, nusd)
    SELECT route, ?1, 'judge', 1, ?2, ?3 FROM pairs WHERE id = ?4
    ON CONFLICT (route, day, account) DO UPDATE SET
        calls = calls + excluded.calls, unpriced = unpriced + excluded.unpriced, nusd = nusd + excluded.nusd
"""
