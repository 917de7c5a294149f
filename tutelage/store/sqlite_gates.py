"""What gates read and keep, on SQLite: judged pairs that no gate has folded, silent sticky keys, the state after a fold.

Owns the rows of `base.GateStore`. Must not know what a gate's state says. A pair is folded once: the mark and the state
after it are one transaction, fenced by the lease.

Where a pair has several judgements, gates get the one that was stored first; the others are for people.
"""

import math
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, islice

import msgspec

from tutelage.contracts.pairs import Judgement, Pair, Serving
from tutelage.contracts.records import Feedback, encode
from tutelage.contracts.signals import Signals
from tutelage.store.base import Closing, Fold, Folded, Refold, Scored, Served, Turns
from tutelage.store.database import Database
from tutelage.store.sqlite_rollouts import holds

_pair = msgspec.json.Decoder(Pair)
_signals = msgspec.json.Decoder(Signals)
_feedback = msgspec.json.Decoder(Feedback)
_judgement = msgspec.json.Decoder(Judgement)
_serving = msgspec.json.Decoder(Serving)


class SqliteGates:
    """`base.GateStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def gate_state(self, route: str) -> bytes | None:
        with self._database.read() as connection:
            found = connection.execute("SELECT state FROM gates WHERE route = ?", (route,)).fetchone()
        return None if found is None else bytes(found[0])

    def successor_state(self, route: str) -> bytes | None:
        with self._database.read() as connection:
            found = connection.execute("SELECT successor FROM gates WHERE route = ?", (route,)).fetchone()
        return None if found is None or found[0] is None else bytes(found[0])

    def folded(self, route: str, after: int, limit: int) -> Sequence[Folded]:
        with self._database.read() as connection:
            rows = connection.execute(_FOLDED, (route, after, limit)).fetchall()
        return [
            Folded(
                number=place,
                scored=Scored(order=rank, pair=_pair.decode(pair), judgement=_judgement.decode(judged)),
                label=None if said is None else _judgement.decode(said),
            )
            for place, rank, pair, judged, said in rows
        ]

    def unfolded(self, route: str, limit: int, waiting_since: float) -> Sequence[Scored]:
        with self._database.read() as connection:
            until = _watermark(connection, route, waiting_since)
            return _scored(connection.execute(_UNFOLDED, (route, until, limit)))

    def unwatched(self, route: str, limit: int, waiting_since: float) -> Sequence[Scored]:
        with self._database.read() as connection:
            until = _watermark(connection, route, waiting_since)
            return _scored(connection.execute(_UNWATCHED, (route, until, limit)))

    def begun(self, route: str, keys: Collection[str]) -> frozenset[str]:
        with self._database.read() as connection:
            return frozenset(key for key in keys if connection.execute(_BEGUN, (route, key)).fetchone() is not None)

    def closed(self, route: str, closing: Closing, limit: int) -> Sequence[Turns]:
        with self._database.read() as connection:
            until = _watermark(connection, route, closing.waiting_since)
            found = (route, closing.idle_since, until, closing.turns, closing.begun_before)
            keys = connection.execute(_CLOSING, found).fetchall()
            made = (_conversation(connection, route, key, first, until=until, closing=closing) for key, first in keys)
            return list(islice((turns for turns in made if turns is not None), limit))

    def servings(self, route: str, quiet_since: float, begun_before: float, limit: int) -> Sequence[Served]:
        with self._database.read() as connection:
            units = connection.execute(_QUIET, (route, quiet_since, begun_before, limit)).fetchall()
            rows = [row for (unit,) in units for row in connection.execute(_SERVED_OF_UNIT, (route, unit, quiet_since))]
            return _served(connection, rows)

    def fold(self, fold: Fold) -> bool:
        """False, too, where one of the pairs was folded before: whoever asks must read the state again."""
        orders, watched, passed = (list(dict.fromkeys(rows)) for rows in (fold.folded, fold.watched, fold.passed))
        with self._database.write() as connection:
            if not holds(connection, fold.lease) or any(
                _is_folded(connection, order) for order in (*orders, *watched, *passed)
            ):
                return False
            if any(_is_counted(connection, order) for order in fold.served):
                return False
            number = 1 + _folds(connection, fold.route)
            connection.execute(_KEEP, (fold.route, fold.gate_state, fold.successor_state, len(orders)))
            [folded] = connection.execute("SELECT folded FROM gates WHERE route = ?", (fold.route,)).fetchone()
            connection.executemany(
                "UPDATE pairs SET state = 'folded', fold = ?, place = ? WHERE rank = ?",
                [(number, place, order) for place, order in enumerate(orders, folded - len(orders) + 1)],
            )
            read = [*((number, order) for order in watched), *((_PASSED, order) for order in passed)]
            connection.executemany("UPDATE pairs SET watched = ? WHERE rank = ?", read)
            connection.executemany(
                "UPDATE servings SET fold = ? WHERE rank = ?", [(number, order) for order in fold.served]
            )
            counted = len(orders) + len(watched) + len(fold.served)
            connection.execute(_FOLD, (fold.route, number, fold.revision, fold.label, counted))
            return True

    def put_signals(self, signals: Mapping[str, Signals]) -> None:
        rows = [(route, encode(seen)) for route, seen in signals.items()]
        with self._database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO signals (route, body) VALUES (?, ?)", rows)

    def signals(self, route: str) -> Signals | None:
        with self._database.read() as connection:
            found = connection.execute("SELECT body FROM signals WHERE route = ?", (route,)).fetchone()
        return None if found is None else _signals.decode(found[0])

    def folds(self, route: str) -> int:
        with self._database.read() as connection:
            return _folds(connection, route)

    def refold(self, route: str, number: int) -> Refold | None:
        statement = "SELECT revision, label, pairs, said FROM folds WHERE route = ? AND number = ?"
        with self._database.read() as connection:
            found = connection.execute(statement, (route, number)).fetchone()
            if found is None:
                return None
            revision, label, pairs, said = found
            scored, watched = (
                _scored(connection.execute(statement, (route, number))) for statement in (_REFOLDED, _REWATCHED)
            )
            served = _served(connection, connection.execute(_COUNTED_BY, (route, number)), said)
        purged = pairs - len(scored) - len(watched) - len(served)
        return Refold(revision=revision, label=label, purged=purged, scored=scored, watched=watched, served=served)


_FIRST_JUDGEMENT = """
    (SELECT body FROM judgements WHERE judgements.rank = pairs.rank ORDER BY judgements.rowid LIMIT 1)
"""
_UNFOLDED = f"""
    SELECT rank, body, {_FIRST_JUDGEMENT} FROM pairs INDEXED BY pairs_judged JOIN pair_bodies USING (rank)
    WHERE route = ? AND state = 'judged' AND admitted_at <= ? ORDER BY admitted_at, id LIMIT ?
"""  # noqa: S608 - made of constants
_UNWATCHED = f"""
    SELECT rank, body, {_FIRST_JUDGEMENT} FROM pairs INDEXED BY pairs_unwatched JOIN pair_bodies USING (rank)
    WHERE route = ? AND state = 'judged' AND watched IS NULL AND admitted_at <= ? ORDER BY admitted_at, id LIMIT ?
"""  # noqa: S608 - made of constants
_PASSED = 0
"""Stands for the number of a fold: the turn is read with its conversation."""
_BEGUN = """
    SELECT 1 FROM pairs INDEXED BY pairs_open
    WHERE route = ? AND sticky_key = ? AND state IN ('queued', 'judged') AND watched > 0 LIMIT 1
"""
_KEEP = """
    INSERT INTO gates (route, state, successor, folded) VALUES (?, ?, ?, ?)
    ON CONFLICT (route) DO UPDATE SET
        state = excluded.state, successor = coalesce(excluded.successor, successor), folded = folded + excluded.folded
"""
_FOLD = """
    INSERT INTO folds (route, number, revision, label, pairs, said)
    SELECT ?, ?, ?, ?, ?, coalesce(max(rowid), 0) FROM feedback
"""
_REFOLDED = f"""
    SELECT rank, body, {_FIRST_JUDGEMENT} FROM pairs INDEXED BY pairs_folded JOIN pair_bodies USING (rank)
    WHERE route = ? AND fold = ? ORDER BY admitted_at, id
"""  # noqa: S608 - made of constants
_COUNTED_BY = """
    SELECT rank, body FROM servings INDEXED BY servings_folded WHERE route = ? AND fold = ? ORDER BY at, id
"""
_QUIET = """
    SELECT unit FROM servings INDEXED BY servings_open WHERE route = ? AND fold IS NULL
    GROUP BY unit HAVING max(at) < ? OR min(at) < ? ORDER BY max(at), unit LIMIT ?
"""
_SERVED_OF_UNIT = """
    SELECT rank, body FROM servings INDEXED BY servings_open
    WHERE route = ? AND unit = ? AND fold IS NULL AND at < ? ORDER BY at, id
"""
_REWATCHED = f"""
    SELECT rank, body, {_FIRST_JUDGEMENT} FROM pairs INDEXED BY pairs_watched JOIN pair_bodies USING (rank)
    WHERE route = ? AND watched = ? ORDER BY admitted_at, id
"""  # noqa: S608 - made of constants
_LABEL = """
    (SELECT body FROM judgements WHERE judgements.rank = pairs.rank AND method = 'human' ORDER BY judgements.rowid LIMIT 1)
"""
_FOLDED = f"""
    SELECT place, rank, body, {_FIRST_JUDGEMENT}, {_LABEL} FROM pairs INDEXED BY pairs_in_place JOIN pair_bodies USING (rank)
    WHERE route = ? AND direction = 'forward' AND place > ? ORDER BY place LIMIT ?
"""  # noqa: S608 - made of constants
_FEEDBACK = "SELECT body FROM feedback WHERE exchange_id = ? AND rowid <= ? ORDER BY at, id"
_ALL_OF_IT = 2**63 - 1
_WATERMARK = """
    SELECT min(admitted_at) FROM pairs INDEXED BY pairs_waiting WHERE route = ? AND state = 'queued' AND admitted_at > ?
"""
_CLOSING = """
    SELECT sticky_key, min(admitted_at) FROM pairs INDEXED BY pairs_open WHERE route = ? AND state IN ('queued', 'judged')
    GROUP BY sticky_key
    HAVING (max(admitted_at) < ? AND max(admitted_at) <= ? AND sum(state = 'queued') = 0)
        OR count(*) >= ? OR min(admitted_at) < ?
    ORDER BY max(admitted_at), sticky_key
"""
_FIRST_TURNS = """
    SELECT rank, admitted_at, state FROM pairs INDEXED BY pairs_open
    WHERE route = ? AND sticky_key = ? AND state IN ('queued', 'judged') AND admitted_at <= ?
    ORDER BY admitted_at, rank LIMIT ?
"""
_SCORED_OF_PAIR = f"""
    SELECT rank, body, {_FIRST_JUDGEMENT} FROM pairs JOIN pair_bodies USING (rank) WHERE rank = ?
"""  # noqa: S608 - made of constants


def _scored(rows: Iterable[tuple[int, bytes, bytes]]) -> tuple[Scored, ...]:
    return tuple(
        Scored(order=rank, pair=_pair.decode(body), judgement=_judgement.decode(judgement))
        for rank, body, judgement in rows
    )


def _served(
    connection: sqlite3.Connection, rows: Iterable[tuple[int, bytes]], said: int = _ALL_OF_IT
) -> tuple[Served, ...]:
    """Rows with the feedback on them, up to its row number `said`."""
    return tuple(
        Served(
            order=rank,
            serving=(serving := _serving.decode(body)),
            feedback=tuple(_feedback.decode(body) for (body,) in connection.execute(_FEEDBACK, (serving.id, said))),
        )
        for rank, body in list(rows)
    )


def _watermark(connection: sqlite3.Connection, route: str, waiting_since: float) -> float:
    """When the oldest pair was admitted that is waited for."""
    [oldest] = connection.execute(_WATERMARK, (route, waiting_since)).fetchone()
    return math.inf if oldest is None else float(oldest)


def _conversation(
    connection: sqlite3.Connection, route: str, key: str, first: float, *, until: float, closing: Closing
) -> Turns | None:
    """The first conversation of what `key` has; None where one of its turns is waited for."""
    turns = connection.execute(_FIRST_TURNS, (route, key, first + closing.span_s, closing.turns)).fetchall()
    if any(state != "judged" or admitted_at > until for _, admitted_at, state in turns):
        return None
    scored = (_scored(connection.execute(_SCORED_OF_PAIR, (rank,))) for rank, _, _ in turns)
    in_order = sorted(chain.from_iterable(scored), key=lambda turn: (turn.pair.admitted_at, turn.pair.id))
    return Turns(key=key, scored=tuple(in_order))


def _folds(connection: sqlite3.Connection, route: str) -> int:
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM folds WHERE route = ?", (route,)).fetchone()[0])


def _is_counted(connection: sqlite3.Connection, order: int) -> bool:
    found = connection.execute("SELECT fold FROM servings WHERE rank = ?", (order,)).fetchone()
    return found is None or found[0] is not None


def _is_folded(connection: sqlite3.Connection, order: int) -> bool:
    found = connection.execute("SELECT state FROM pairs WHERE rank = ?", (order,)).fetchone()
    return bool(found == ("folded",))
