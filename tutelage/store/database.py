"""One SQLite file and its connection: opening, schema, transactions, the global sequence.

Owns the pragmas, the lock, the translation of SQLite's faults into StoreUnavailable. Must not know what the rows mean:
that is in the `sqlite_*.py` files, one per role of the store. A change of SCHEMA raises SCHEMA_VERSION.

Several processes open the same file; each uses its connection from one thread at a time. Write transactions take the
write lock when they begin, so that what they read cannot change before they commit.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from tutelage.contracts.errors import ConfigurationError, StoreUnavailable
from tutelage.store.private import make_private

SCHEMA_VERSION = 5
BUSY_TIMEOUT_S = 5.0


_OF_PAIR = "{row}.route, {row}.state, coalesce({row}.excluded, '')"
_OF_EXCLUSION = "{row}.route, 'excluded', {row}.reason"
"""Under which route, state and reason a row is counted."""


def _came(what: str) -> str:
    counted = what.format(row="new")
    more = f"UPDATE counts SET n = n + 1 WHERE (route, state, reason) = ({counted})"  # noqa: S608 - made of constants
    return f"INSERT OR IGNORE INTO counts (route, state, reason, n) VALUES ({counted}, 0); {more}"  # noqa: S608 - made of constants


def _went(what: str) -> str:
    return f"UPDATE counts SET n = n - 1 WHERE (route, state, reason) = ({what.format(row='old')})"  # noqa: S608 - made of constants


def _counting(table: str, what: str) -> tuple[str, ...]:
    """Triggers that keep `counts` true of the rows of `table`."""
    return (
        f"CREATE TRIGGER {table}_came AFTER INSERT ON {table} BEGIN {_came(what)}; END",
        f"CREATE TRIGGER {table}_went AFTER DELETE ON {table} BEGIN {_went(what)}; END",
    )


SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    # what gateways read
    "CREATE TABLE config (id INTEGER PRIMARY KEY CHECK (id = 1), digest TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE rollouts (route TEXT PRIMARY KEY, revision INTEGER NOT NULL, epoch TEXT NOT NULL, body BLOB NOT NULL)",
    """CREATE TABLE revisions (
        route TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (route, revision)
    ) WITHOUT ROWID""",
    "CREATE TABLE epochs (id TEXT PRIMARY KEY, route TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE samplings (route TEXT PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE keys (id TEXT PRIMARY KEY, created_at REAL NOT NULL, body BLOB NOT NULL)",
    # what was decided, by whom
    "CREATE TABLE decisions (rank INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, route TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE INDEX decisions_of_route ON decisions (route, rank)",
    "CREATE TABLE audits (rank INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, expires_at REAL NOT NULL)",
    # traffic; bodies stand apart, so that a change of state rewrites a short row
    """CREATE TABLE pairs (
        rank INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        route TEXT NOT NULL,
        direction TEXT NOT NULL,
        sticky_key TEXT NOT NULL,
        admitted_at REAL NOT NULL,
        state TEXT NOT NULL,  -- queued, judged, folded or excluded
        excluded TEXT,
        visible_at REAL NOT NULL DEFAULT 0,
        deliveries INTEGER NOT NULL DEFAULT 0,
        watched INTEGER,  -- the number of the fold in which detectors read it, ahead of its conversation; 0: with it alone
        fold INTEGER,  -- the number of the fold that counted it
        place INTEGER  -- its own among the folded pairs of its route
    )""",
    "CREATE INDEX pairs_of_route ON pairs (route, admitted_at, direction, state)",
    "CREATE INDEX pairs_queued ON pairs (admitted_at, id, visible_at) WHERE state = 'queued'",
    "CREATE INDEX pairs_waiting ON pairs (route, admitted_at) WHERE state = 'queued'",
    "CREATE INDEX pairs_judged ON pairs (route, admitted_at, id) WHERE state = 'judged'",
    "CREATE INDEX pairs_open ON pairs (route, sticky_key, admitted_at, state) WHERE state IN ('queued', 'judged')",
    "CREATE INDEX pairs_unwatched ON pairs (route, admitted_at, id) WHERE state = 'judged' AND watched IS NULL",
    "CREATE INDEX pairs_watched ON pairs (route, watched) WHERE watched IS NOT NULL",
    "CREATE INDEX pairs_folded ON pairs (route, fold) WHERE fold IS NOT NULL",
    "CREATE INDEX pairs_in_place ON pairs (route, place) WHERE place IS NOT NULL AND direction = 'forward'",
    # how many there are: asked every second, of routes that keep millions
    """CREATE TABLE counts (
        route TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (route, state, reason)
    ) WITHOUT ROWID""",
    *_counting("pairs", _OF_PAIR),
    f"CREATE TRIGGER pairs_moved AFTER UPDATE OF state ON pairs BEGIN {_went(_OF_PAIR)}; {_came(_OF_PAIR)}; END",
    "CREATE TABLE pair_bodies (rank INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    """CREATE TABLE judgements (
        rank INTEGER NOT NULL, rubric TEXT NOT NULL, method TEXT NOT NULL, scored_at REAL NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (rank, rubric, method)
    )""",
    """CREATE TABLE anchor_readings (
        rank INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, route TEXT NOT NULL, judging TEXT NOT NULL, anchor TEXT NOT NULL,
        at REAL NOT NULL, d REAL, body BLOB NOT NULL
    )""",
    "CREATE INDEX readings_of_route ON anchor_readings (route, rank)",
    "CREATE INDEX readings_of_anchor ON anchor_readings (judging, anchor, at)",
    """CREATE TABLE exclusions (
        id TEXT PRIMARY KEY, route TEXT NOT NULL, epoch TEXT NOT NULL, direction TEXT, reason TEXT NOT NULL,
        revision INTEGER NOT NULL, at REAL NOT NULL
    )""",
    *_counting("exclusions", _OF_EXCLUSION),
    """CREATE INDEX exclusions_counted ON exclusions (route, epoch, direction, reason, revision)
        WHERE direction IS NOT NULL""",
    """CREATE TABLE feedback (
        id TEXT PRIMARY KEY, exchange_id TEXT NOT NULL, route TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL
    )""",
    "CREATE INDEX feedback_of_exchange ON feedback (exchange_id, at)",
    """CREATE TABLE corrections (
        route TEXT NOT NULL, input_hash TEXT NOT NULL, at REAL NOT NULL, value TEXT NOT NULL, PRIMARY KEY (route, input_hash)
    ) WITHOUT ROWID""",
    "CREATE TABLE waiting (id TEXT PRIMARY KEY, exchange_id TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE positions (spool TEXT PRIMARY KEY, position INTEGER NOT NULL)",
    """CREATE TABLE spending (
        route TEXT NOT NULL, day INTEGER NOT NULL, account TEXT NOT NULL,
        calls INTEGER NOT NULL, unpriced INTEGER NOT NULL, nusd INTEGER NOT NULL,
        PRIMARY KEY (route, day, account)
    ) WITHOUT ROWID""",
    """CREATE TABLE servings (
        rank INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, route TEXT NOT NULL, unit TEXT NOT NULL,
        at REAL NOT NULL, body BLOB NOT NULL, fold INTEGER  -- the number of the fold that counted it
    )""",
    "CREATE INDEX servings_open ON servings (route, unit, at) WHERE fold IS NULL",
    "CREATE INDEX servings_folded ON servings (route, fold) WHERE fold IS NOT NULL",
    "CREATE INDEX servings_at ON servings (route, at)",
    "CREATE TABLE gates (route TEXT PRIMARY KEY, state BLOB NOT NULL, successor BLOB, folded INTEGER NOT NULL)",
    "CREATE TABLE signals (route TEXT PRIMARY KEY, body BLOB NOT NULL)",
    # how each state came about: `said` is the last feedback that there was
    """CREATE TABLE folds (
        route TEXT NOT NULL, number INTEGER NOT NULL, revision INTEGER NOT NULL, label INTEGER,
        pairs INTEGER NOT NULL, said INTEGER NOT NULL, PRIMARY KEY (route, number)
    ) WITHOUT ROWID""",
)


class Database:
    """One connection to the file at `path`, made with its folder where it is not there.

    `clock` names the generation of a file that is made: a rebuilt store has a higher one. Raises ConfigurationError
    where another version of the program wrote the file, StoreUnavailable where it cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._lock = RLock()
        self._seen: tuple[int, int] | None = None  # (data_version, sequence) when the sequence was last read
        with self._faults():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_private(path)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
            )
        try:
            self._prepare(clock)
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the file."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed, on disk, when the block ends, and rolled back where it raises."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def raise_sequence(self) -> int:
        """Inside a write transaction: this commit changes the snapshot. Returns its sequence."""
        statement = "UPDATE meta SET value = value + 1 WHERE name = 'sequence' RETURNING value"
        self._seen = None
        return int(self._connection.execute(statement).fetchone()[0])

    def sequence(self) -> int:
        """The sequence of the last commit that changed the snapshot. Other connections' commits change
        `data_version`; this one's forget what was seen."""
        with self._lock, self._faults():
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            if self._seen is None or self._seen[0] != version:
                self._seen = version, self.meta(self._connection, "sequence")
            return self._seen[1]

    @staticmethod
    def meta(connection: sqlite3.Connection, name: str) -> int:
        return int(connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._faults():
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise StoreUnavailable(f"store {self.path}: {fault}{_remedy(fault)}") from fault

    def _prepare(self, clock: Callable[[], float]) -> None:
        with self._faults():
            self._begin_log()
            self._connection.execute("PRAGMA synchronous = FULL")
        with self.write() as connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._create(connection, generation=int(clock()))
            elif found != SCHEMA_VERSION:
                raise ConfigurationError(
                    f"store {self.path} has schema version {found}, this program reads {SCHEMA_VERSION}: "
                    "run the version that wrote it, or name another file in store.url"
                )

    def _begin_log(self) -> None:
        """Turn the write-ahead log on. SQLite does not wait for others there: who loses the race tries again."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as fault:
                if "locked" not in str(fault) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @staticmethod
    def _create(connection: sqlite3.Connection, *, generation: int) -> None:
        for statement in SCHEMA:
            connection.execute(statement)
        rows = (("sequence", 0), ("generation", generation))
        connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", rows)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


_REMEDIES = (
    ("full", "; free space on its disk"),
    ("No space left", "; free space on its disk"),
    ("disk I/O", "; is its disk full, or gone?"),
    ("Read-only", "; name a folder that this user may write, in data_dir or store.url"),
    ("unable to open", "; name a folder that this user may write, in data_dir or store.url"),
    ("readonly", "; name a folder that this user may write, in data_dir or store.url"),
    ("Permission denied", "; name a folder that this user may write, in data_dir or store.url"),
    ("File exists", "; name a folder, not a file, in data_dir or store.url"),
    ("not a database", "; it is no store: name another file in store.url"),
)
"""What an operator can do, by what the system says."""


def _remedy(fault: Exception) -> str:
    return next((remedy for said, remedy in _REMEDIES if said in str(fault)), "")
