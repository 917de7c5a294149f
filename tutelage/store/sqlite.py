"""The embedded store: every role on one SQLite file, one connection.

Owns the putting together only: each role has its own `sqlite_*.py` file, the connection is in database.py. To change a
role, change its file; its contract is tests/tutelage/store/contract.py.
"""

from tutelage.store.database import Database
from tutelage.store.sqlite_gates import SqliteGates
from tutelage.store.sqlite_judges import SqliteJudges
from tutelage.store.sqlite_pairs import SqlitePairs
from tutelage.store.sqlite_rollouts import SqliteKeys, SqliteLeases, SqliteRollouts, SqliteSnapshots


class SqliteStore(SqliteSnapshots, SqliteRollouts, SqliteKeys, SqliteLeases, SqlitePairs, SqliteJudges, SqliteGates):
    """`base.Store` on `database`. Closing the store closes the database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)

    def close(self) -> None:
        self._database.close()
