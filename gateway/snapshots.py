"""Snapshots: what the gateway knows of the store, kept in memory and on disk, so that serving depends on nothing.

Two threads poll every 200 ms: one the store, one the kill files (`data_dir/kill/<route>`), so that a store that hangs does not
stop a kill. A cold start takes the store's snapshot, else the one on disk, else the configuration file with 100 % teacher.
Once there is one it never goes back in (generation, sequence), and it stays while the store is gone.

Must not know of requests. What it learns it hands to `deliver`, from its threads, one view at a time: handed over out of order,
an older view could take back a kill. `deliver` must not wait.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from tutelage.contracts.errors import TutelageError
from tutelage.contracts.keys import Key
from tutelage.contracts.load import validated
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import SNAPSHOT, PublishedConfig, Snapshot, decode_snapshot

log = structlog.get_logger()

POLL_S = 0.2
COLD_START_S = 2.0
"""How long a start waits for the store before it takes what is on disk."""


class Source(Protocol):
    """What is read of the store."""

    def sequence(self) -> int: ...
    def snapshot(self) -> Snapshot | None: ...
    def keys(self) -> Sequence[Key]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known now. `source`: store, disk or configuration."""

    snapshot: Snapshot
    settings: Settings
    kills: frozenset[str]
    source: str


class Snapshots:
    """The poller of one process. `open_store` is called in its own thread, again after every failure."""

    def __init__(
        self,
        *,
        settings: Settings,
        open_store: Callable[[], Source],
        deliver: Callable[[View], None],
    ) -> None:
        self._settings = settings
        self._data_dir = Path(settings.data_dir)
        self._open_store = open_store
        self._deliver = deliver
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._first = threading.Event()
        self._view: View | None = None
        self._trouble: str | None = None
        self._threads = [
            threading.Thread(target=self._poll_store, name="snapshots", daemon=True),
            threading.Thread(target=self._poll_kills, name="kills", daemon=True),
        ]

    def start(self) -> View:
        """Begin polling; the view to start with, at the latest after COLD_START_S. Blocks."""
        for thread in self._threads:
            thread.start()
        self._first.wait(COLD_START_S)
        with self._lock:
            if self._view is None:
                self._view = self._without_store()
            return self._view

    @property
    def current(self) -> View | None:
        """The view in force."""
        with self._lock:
            return self._view

    def stop(self) -> None:
        """Stop polling. A thread that hangs in the store is left behind: it is a daemon."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(POLL_S * 3)

    # --- the store's thread -------------------------------------------------------------------------------------------

    def _poll_store(self) -> None:
        store: Source | None = None
        seen = -1
        while not self._stopping.is_set():
            try:
                store = self._open_store() if store is None else store
                sequence = store.sequence()
                if sequence != seen:
                    snapshot = store.snapshot()
                    if snapshot is None:
                        self._take_keys(tuple(store.keys()))
                    else:
                        self._take(snapshot)
                    seen = sequence
                self._say(None)
            except Exception as fault:  # noqa: BLE001 - the loop's top: whatever the store does, serving goes on
                self._say(f"{type(fault).__name__}: {fault}")
                _close(store)
                store, seen = None, -1
            self._stopping.wait(POLL_S)
        _close(store)

    def _take(self, snapshot: Snapshot) -> None:
        """Put a newer snapshot in force. One that this version cannot read is refused, and the last one stays."""
        settings = validated(snapshot.config.settings, f"snapshot {snapshot.sequence}")
        with self._lock:
            before = self._view
            known = before is not None and before.source != "configuration"
            if before is not None and known and _order(snapshot) <= _order(before.snapshot):
                return
            kills = before.kills if before is not None else self._kills()
            self._view = View(snapshot=snapshot, settings=settings, kills=kills, source="store")
            self._deliver(self._view)
        self._first.set()
        self._keep(snapshot)

    def _take_keys(self, keys: tuple[Key, ...]) -> None:
        """Nothing is published yet: the teacher serves those who have a key."""
        with self._lock:
            if self._view is not None and self._view.source != "configuration":
                return
            self._view = self._without_store(keys)
            self._deliver(self._view)
        self._first.set()

    def _say(self, trouble: str | None) -> None:
        """Log a change of the store's health, once."""
        if trouble != self._trouble:
            if trouble is None:
                log.info("store is back")
            else:
                log.warning("store cannot be read; serving by the last snapshot", error=trouble)
            self._trouble = trouble

    # --- kill files ---------------------------------------------------------------------------------------------------

    def _poll_kills(self) -> None:
        while not self._stopping.wait(POLL_S):
            kills = self._kills()
            with self._lock:
                if self._view is None or kills == self._view.kills:
                    continue
                self._view = replace(self._view, kills=kills)
                self._deliver(self._view)
            log.warning("kill files changed", routes=sorted(kills))

    def _kills(self) -> frozenset[str]:
        try:
            return frozenset(path.name for path in (self._data_dir / "kill").iterdir())
        except FileNotFoundError:
            return frozenset()
        except OSError as fault:
            log.warning("kill files cannot be read", error=str(fault))
            return self._view.kills if self._view is not None else frozenset()

    # --- without a store ----------------------------------------------------------------------------------------------

    def _without_store(self, keys: tuple[Key, ...] = ()) -> View:
        kept = self._kept()
        if kept is not None:
            snapshot, settings = kept
            log.warning("serving by the snapshot on disk", sequence=snapshot.sequence)
            return View(snapshot=snapshot, settings=settings, kills=self._kills(), source="disk")
        log.warning("nothing is published yet: the teacher serves everything", keys=len(keys))
        return View(
            snapshot=snapshot_of(self._settings, keys),
            settings=self._settings,
            kills=self._kills(),
            source="configuration",
        )

    def _keep(self, snapshot: Snapshot) -> None:
        """Write the snapshot to disk: whole or not at all. A disk that is full costs only this."""
        path = self._data_dir / SNAPSHOT
        draft = path.with_name(f".{SNAPSHOT}.{os.getpid()}")
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                draft.chmod(0o600)
                file.write(msgspec.json.encode(snapshot))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as fault:
            log.warning("snapshot not written to disk", path=str(path), error=str(fault))

    def _kept(self) -> tuple[Snapshot, Settings] | None:
        path = self._data_dir / SNAPSHOT
        try:
            snapshot = decode_snapshot(path.read_bytes())
            return snapshot, validated(snapshot.config.settings, str(path))
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, TutelageError) as fault:
            log.warning("snapshot on disk cannot be used", path=str(path), error=str(fault))
            return None


def snapshot_of(settings: Settings, keys: tuple[Key, ...] = ()) -> Snapshot:
    """What the configuration file alone says: no rollouts, so the teacher serves everything."""
    public = settings.public()
    digest = sha256(msgspec.json.encode(public, order="deterministic")).hexdigest()
    config = PublishedConfig(digest=digest, settings=public, published_at=0.0)
    return Snapshot(generation=0, sequence=0, config=config, rollouts={}, samplings={}, epochs={}, keys=keys)


def _order(snapshot: Snapshot) -> tuple[int, int]:
    return snapshot.generation, snapshot.sequence


def _close(store: Source | None) -> None:
    if store is None:
        return
    try:
        store.close()
    except Exception as fault:  # noqa: BLE001 - the same loop's top: it is being given up
        log.info("store did not close", error=str(fault))
