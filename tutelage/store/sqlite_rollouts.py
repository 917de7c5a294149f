"""The snapshot, rollouts, keys and leases on SQLite: what gateways read and who may change it.

Owns the rows of `base.SnapshotStore`, `RolloutStore`, `KeyStore` and `LeaseStore`. Must not know what an event is or
when it applies: `apply` decides, this commits. Whatever changes the snapshot raises the sequence in its transaction.
"""

import math
import sqlite3
import sys
from collections.abc import Sequence

import msgspec

from router.rollout import Rollout
from router.types import Sampling
from tutelage.contracts.decisions import Decision, Epoch
from tutelage.contracts.errors import LeaseLost, StaleRevision
from tutelage.contracts.keys import Key
from tutelage.contracts.snapshot import PublishedConfig, Snapshot
from tutelage.store.base import Audit, Lease, RolloutChange
from tutelage.store.database import Database

_encode = msgspec.json.Encoder(order="deterministic").encode
_config = msgspec.json.Decoder(PublishedConfig)
_rollout = msgspec.json.Decoder(Rollout)
_sampling = msgspec.json.Decoder(Sampling)
_epoch = msgspec.json.Decoder(Epoch)
_key = msgspec.json.Decoder(Key)
_decision = msgspec.json.Decoder(Decision)
_audit = msgspec.json.Decoder(Audit)


class SqliteSnapshots:
    """`base.SnapshotStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sequence(self) -> int:
        return self._database.sequence()

    def snapshot(self) -> Snapshot | None:
        with self._database.read() as connection:
            config = connection.execute("SELECT body FROM config").fetchone()
            if config is None:
                return None
            return Snapshot(
                generation=self._database.meta(connection, "generation"),
                sequence=self._database.meta(connection, "sequence"),
                config=_config.decode(config[0]),
                rollouts={
                    route: _rollout.decode(body)
                    for route, body in connection.execute("SELECT route, body FROM rollouts ORDER BY route")
                },
                samplings={
                    route: _sampling.decode(body)
                    for route, body in connection.execute("SELECT route, body FROM samplings ORDER BY route")
                },
                epochs={route: _epoch.decode(body) for route, body in connection.execute(_EPOCHS_IN_FORCE)},
                keys=_all_keys(connection),
                successors={route: _epoch.decode(body) for route, body in connection.execute(_EPOCHS_OF_SUCCESSORS)},
            )

    def publish(self, config: PublishedConfig) -> int:
        with self._database.write() as connection:
            found = connection.execute("SELECT digest FROM config").fetchone()
            if found is not None and found[0] == config.digest:
                return self._database.meta(connection, "sequence")
            connection.execute(
                "INSERT OR REPLACE INTO config (id, digest, body) VALUES (1, ?, ?)", (config.digest, _encode(config))
            )
            return self._database.raise_sequence()

    def set_sampling(self, route: str, sampling: Sampling) -> int:
        body = _encode(sampling)
        with self._database.write() as connection:
            found = connection.execute("SELECT body FROM samplings WHERE route = ?", (route,)).fetchone()
            if found is not None and found[0] == body:
                return self._database.meta(connection, "sequence")
            connection.execute("INSERT OR REPLACE INTO samplings (route, body) VALUES (?, ?)", (route, body))
            return self._database.raise_sequence()


class SqliteRollouts:
    """`base.RolloutStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rollout(self, route: str) -> Rollout | None:
        with self._database.read() as connection:
            found = connection.execute("SELECT body FROM rollouts WHERE route = ?", (route,)).fetchone()
        return None if found is None else _rollout.decode(found[0])

    def rollout_at(self, route: str, revision: int) -> Rollout | None:
        statement = "SELECT body FROM revisions WHERE route = ? AND revision = ?"
        with self._database.read() as connection:
            found = connection.execute(statement, (route, revision)).fetchone()
        return None if found is None else _rollout.decode(found[0])

    def epoch(self, name: str) -> Epoch | None:
        with self._database.read() as connection:
            found = connection.execute("SELECT body FROM epochs WHERE id = ?", (name,)).fetchone()
        return None if found is None else _epoch.decode(found[0])

    def commit(self, change: RolloutChange) -> int:
        rollout = change.rollout
        with self._database.write() as connection:
            if change.lease is not None and not holds(connection, change.lease):
                raise LeaseLost(f"lease {change.lease.name!r} passed from {change.lease.holder!r} to another process")
            found = connection.execute("SELECT revision FROM rollouts WHERE route = ?", (rollout.route,)).fetchone()
            actual = 0 if found is None else int(found[0])
            if actual != change.expected_revision:
                raise StaleRevision(rollout.route, change.expected_revision, actual)
            connection.execute(
                "INSERT OR REPLACE INTO rollouts (route, revision, epoch, body) VALUES (?, ?, ?, ?)",
                (rollout.route, rollout.revision, rollout.epoch, _encode(rollout)),
            )
            connection.execute(
                "INSERT INTO revisions (route, revision, body) VALUES (?, ?, ?)",
                (rollout.route, rollout.revision, _encode(rollout)),
            )
            if change.epoch is not None:
                connection.execute(
                    "INSERT OR IGNORE INTO epochs (id, route, body) VALUES (?, ?, ?)",
                    (change.epoch.id, change.epoch.route, _encode(change.epoch)),
                )
            _write_decision(connection, change.decision)
            _write_audit(connection, change.audit)
            return self._database.raise_sequence()

    def history(self, route: str, limit: int = 100) -> Sequence[Decision]:
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT body FROM decisions WHERE route = ? ORDER BY rank DESC LIMIT ?", (route, limit)
            ).fetchall()
        return [_decision.decode(body) for (body,) in rows]

    def refuse(self, decision: Decision) -> None:
        with self._database.write() as connection:
            _write_decision(connection, decision)

    def audit(self, row: Audit) -> None:
        with self._database.write() as connection:
            _write_audit(connection, row)

    def audits(self, limit: int = 100) -> Sequence[Audit]:
        with self._database.read() as connection:
            rows = connection.execute("SELECT body FROM audits ORDER BY rank DESC LIMIT ?", (limit,)).fetchall()
        return [_audit.decode(body) for (body,) in rows]


class SqliteKeys:
    """`base.KeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_key(self, key: Key) -> int:
        with self._database.write() as connection:
            _write_key(connection, key)
            return self._database.raise_sequence()

    def keys(self) -> Sequence[Key]:
        with self._database.read() as connection:
            return _all_keys(connection)

    def revoke_key(self, key_id: str, at: float) -> bool:
        with self._database.write() as connection:
            found = connection.execute("SELECT body FROM keys WHERE id = ?", (key_id,)).fetchone()
            key = None if found is None else _key.decode(found[0])
            if key is None or key.revoked_at is not None:
                return False
            _write_key(connection, msgspec.structs.replace(key, revoked_at=at))
            self._database.raise_sequence()
            return True


class SqliteLeases:
    """`base.LeaseStore`. Nobody holds a released lease: its holder is the empty string."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, holder: str, ttl_s: float, now: float) -> Lease | None:
        with self._database.write() as connection:
            found = connection.execute(
                "SELECT holder, token, expires_at FROM leases WHERE name = ?", (name,)
            ).fetchone() or ("", 0, now)
            held_by, token, expires_at = found
            if held_by != holder:
                if held_by and expires_at > now:
                    return None
                token += 1
            connection.execute(
                "INSERT OR REPLACE INTO leases (name, holder, token, expires_at) VALUES (?, ?, ?, ?)",
                (name, holder, token, now + ttl_s),
            )
        return Lease(name=name, holder=holder, token=token, expires_at=now + ttl_s)

    def release(self, lease: Lease) -> None:
        with self._database.write() as connection:
            connection.execute(
                "UPDATE leases SET holder = '' WHERE name = ? AND holder = ? AND token = ?",
                (lease.name, lease.holder, lease.token),
            )


def holds(connection: sqlite3.Connection, lease: Lease) -> bool:
    """Whether nobody took `lease` over since it was given. One that ran out and found no taker still stands."""
    found = connection.execute("SELECT holder, token FROM leases WHERE name = ?", (lease.name,)).fetchone()
    return bool(found == (lease.holder, lease.token))


_EPOCHS_IN_FORCE = """
    SELECT rollouts.route, epochs.body FROM rollouts JOIN epochs ON epochs.id = rollouts.epoch
    AND epochs.route = rollouts.route ORDER BY rollouts.route
"""


_EPOCHS_OF_SUCCESSORS = """
    SELECT rollouts.route, epochs.body FROM rollouts JOIN epochs ON epochs.route = rollouts.route
    AND epochs.id = json_extract(CAST(rollouts.body AS TEXT), '$.successor.epoch') ORDER BY rollouts.route
"""


def _all_keys(connection: sqlite3.Connection) -> tuple[Key, ...]:
    rows = connection.execute("SELECT body FROM keys ORDER BY created_at, id")
    return tuple(_key.decode(body) for (body,) in rows)


def _write_key(connection: sqlite3.Connection, key: Key) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO keys (id, created_at, body) VALUES (?, ?, ?)", (key.id, key.created_at, _encode(key))
    )


def _write_decision(connection: sqlite3.Connection, decision: Decision) -> None:
    """Write a decision. JSON has no infinity: a detector that never saw a unit is left out, a cell's number is the
    largest there is."""
    kept = msgspec.structs.replace(
        decision,
        cells=tuple(
            msgspec.structs.replace(cell, log_e=_finite(cell.log_e), threshold=_finite(cell.threshold))
            for cell in decision.cells
        ),
        detectors={name: value for name, value in decision.detectors.items() if math.isfinite(value)},
    )
    connection.execute(
        "INSERT OR IGNORE INTO decisions (id, route, body) VALUES (?, ?, ?)", (kept.id, kept.route, _encode(kept))
    )


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.copysign(sys.float_info.max, value)


def _write_audit(connection: sqlite3.Connection, row: Audit) -> None:
    connection.execute("INSERT INTO audits (body) VALUES (?)", (_encode(row),))
