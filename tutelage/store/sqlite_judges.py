"""What judging costs and what judges make of labelled pairs, on SQLite.

Owns the rows of `base.JudgeStore`. Must not know budgets or drift. What is read is charged in the transaction that stores it.
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from tutelage.contracts.pairs import AnchorReading
from tutelage.contracts.records import Spending, encode
from tutelage.store.base import AnchorState, Judging
from tutelage.store.database import Database
from tutelage.store.sqlite_pairs import DAY_S, SPEND

ACCOUNT = "judge"
_reading = msgspec.json.Decoder(AnchorReading)


class SqliteJudges:
    """`base.JudgeStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spend(self, route: str, day: int) -> Spending:
        statement = "SELECT calls, unpriced, nusd FROM spending WHERE route = ? AND day = ? AND account = ?"
        with self._database.read() as connection:
            found = connection.execute(statement, (route, day, ACCOUNT)).fetchone()
        calls, unpriced, nusd = found or (0, 0, 0)
        return Spending(route=route, day=day, account=ACCOUNT, calls=calls, unpriced=unpriced, nusd=nusd)

    def charge(self, spending: Spending) -> None:
        with self._database.write() as connection:
            connection.execute(SPEND, msgspec.structs.astuple(spending))

    def drawable(self, route: str, admitted_after: float) -> int:
        statement = """
            SELECT count(*) FROM pairs WHERE route = ? AND admitted_at > ? AND (excluded IS NULL OR excluded = 'not_drawn')
        """
        with self._database.read() as connection:
            return int(connection.execute(statement, (route, admitted_after)).fetchone()[0])

    def scored(self, route: str, admitted_after: float) -> int:
        statement = """
            SELECT count(*) FROM pairs WHERE route = ? AND admitted_at > ? AND state IN ('judged', 'folded')
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
                    paid = (one.route, int(one.at // DAY_S), ACCOUNT, 1, one.cost_nusd is None, one.cost_nusd or 0)
                    connection.execute(SPEND, paid)

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


def _key(judging: Judging | AnchorReading) -> str:
    """One name for a route, rubric, judge, version and prompt."""
    words = [judging.route, judging.rubric, judging.judge, judging.judge_version, judging.prompt_hash]
    return hashlib.sha256(msgspec.json.encode(words)).hexdigest()[:32]
