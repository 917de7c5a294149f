"""What judging costs and what judges make of labelled pairs, on SQLite.

Owns the rows of `base.JudgeStore`. Spend is a running sum by route and UTC day, kept in the transaction that stores what
was paid for, so that it outlives the retention of pairs. Must not know budgets or drift.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from tutelage.contracts.records import AnchorReading, encode
from tutelage.store.base import AnchorState, JudgeSpend, Judging
from tutelage.store.database import Database

DAY_S = 86_400
_reading = msgspec.json.Decoder(AnchorReading)


class SqliteJudges:
    """`base.JudgeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spend(self, route: str, day: int) -> JudgeSpend:
        statement = "SELECT pairs, cost_nusd, unpriced FROM judge_spend WHERE route = ? AND day = ?"
        with self._database.read() as connection:
            found = connection.execute(statement, (route, day)).fetchone()
        return JudgeSpend() if found is None else JudgeSpend(pairs=found[0], cost_nusd=found[1], unpriced=found[2])

    def charge(self, route: str, day: int, spend: JudgeSpend) -> None:
        with self._database.write() as connection:
            charge(connection, [(route, day, spend)])

    def drawable(self, route: str, admitted_after: float) -> int:
        statement = """
            SELECT count(*) FROM pairs WHERE route = ? AND admitted_at > ? AND (excluded IS NULL OR excluded = 'not_drawn')
        """
        with self._database.read() as connection:
            return int(connection.execute(statement, (route, admitted_after)).fetchone()[0])

    def put_readings(self, readings: Sequence[AnchorReading]) -> None:
        statement = """
            INSERT INTO anchor_readings (id, route, judging, anchor, at, d, body) VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO NOTHING
        """
        with self._database.write() as connection:
            for one in readings:
                row = (one.id, one.route, _key(one), one.anchor, one.at, one.d, encode(one))
                if connection.execute(statement, row).rowcount:
                    paid = spend_of(one.judge, one.cost_nusd)
                    charge(connection, [(one.route, day_of(one.at), replace(paid, pairs=0))])

    def readings(self, route: str, after: int, limit: int) -> Sequence[tuple[int, AnchorReading]]:
        statement = "SELECT rank, body FROM anchor_readings WHERE route = ? AND rank > ? ORDER BY rank LIMIT ?"
        with self._database.read() as connection:
            rows = connection.execute(statement, (route, after, limit)).fetchall()
        return [(rank, _reading.decode(body)) for rank, body in rows]

    def anchors(self, judging: Judging) -> Mapping[str, AnchorState]:
        statement = """
            SELECT anchor, max(at), (
                SELECT d FROM anchor_readings AS first
                WHERE first.judging = every.judging AND first.anchor = every.anchor AND first.d IS NOT NULL
                ORDER BY first.at LIMIT 1
            ) FROM anchor_readings AS every WHERE judging = ? GROUP BY anchor
        """
        with self._database.read() as connection:
            rows = connection.execute(statement, (_key(judging),)).fetchall()
        return {anchor: AnchorState(last_at=at, reference_d=d) for anchor, at, d in rows}


def day_of(at: float) -> int:
    """The UTC day of a time, in days since 1970."""
    return int(at // DAY_S)


def spend_of(judge: str | None, cost_nusd: int | None) -> JudgeSpend:
    """What one judgement came to. Without a judge nobody was asked."""
    unpriced = judge is not None and cost_nusd is None
    return JudgeSpend(pairs=1, cost_nusd=cost_nusd or 0, unpriced=int(unpriced))


def charge(connection: sqlite3.Connection, spends: Iterable[tuple[str, int, JudgeSpend]]) -> None:
    """Inside a write transaction: add these to their days."""
    statement = """
        INSERT INTO judge_spend (route, day, pairs, cost_nusd, unpriced) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (route, day) DO UPDATE SET pairs = pairs + excluded.pairs,
        cost_nusd = cost_nusd + excluded.cost_nusd, unpriced = unpriced + excluded.unpriced
    """
    rows = [(route, day, one.pairs, one.cost_nusd, one.unpriced) for route, day, one in spends]
    connection.executemany(statement, rows)


def _key(judging: Judging | AnchorReading) -> str:
    """One name for a route, rubric, judge, version and prompt."""
    words = [judging.route, judging.rubric, judging.judge, judging.judge_version, judging.prompt_hash]
    return hashlib.sha256(msgspec.json.encode(words)).hexdigest()[:32]
