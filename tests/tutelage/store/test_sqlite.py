import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tutelage.store.contract import StoreContract
from tests.tutelage.store.made import config, judgement, key, pair
from tutelage.contracts.errors import ConfigurationError, StoreUnavailable
from tutelage.store import database
from tutelage.store.base import Joined, Store
from tutelage.store.database import SCHEMA_VERSION, Database
from tutelage.store.registry import open_store
from tutelage.store.sqlite import SqliteStore
from tutelage.store.sqlite_pairs import SqlitePairs

WRITER = """
import sys
from tests.tutelage.store.made import key, pair
from tutelage.store.base import Joined
from tutelage.store.registry import open_store

store, number = open_store(sys.argv[1]), 0
while True:
    number += 1
    store.join(Joined(pairs=[pair(f"p{number}", float(number))], positions={"g": number}))
    print(number, flush=True)
"""
CLAIMER = """
import sys
from tutelage.store.registry import open_store

store = open_store(sys.argv[1])
while claimed := store.claim(sys.argv[2], 5, 600.0, 1e6):
    print(*(row.pair.id for row in claimed), sep="\\n", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "store.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


class TestSqlite(StoreContract):
    @pytest.fixture
    def open_another(self, url: str) -> Callable[[], Store]:
        return lambda: open_store(url)


def test_claims_of_two_processes_never_overlap(url: str):
    store = open_store(url)
    store.join(Joined(pairs=[pair(f"p{number}", float(number)) for number in range(120)]))
    workers = [
        subprocess.Popen([sys.executable, "-c", CLAIMER, url, name], stdout=subprocess.PIPE, text=True)
        for name in ("w1", "w2")
    ]
    taken = [line for worker in workers for line in worker.communicate(timeout=120)[0].split()]
    assert len(taken) == len(set(taken)) == 120
    store.close()


def test_a_writer_killed_at_any_moment_leaves_what_it_committed(url: str):
    """Everything the writer reported is there; at most the one commit it could not report is there besides."""
    reported, store = 0, open_store(url)
    store.close()
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(40):
                reported = max(reported, int(writer.stdout.readline()))
            os.kill(writer.pid, signal.SIGKILL)
            reported = max(reported, *(int(line) for line in writer.stdout.read().split("\n")[:-1]), 0)
        store = open_store(url)
        position = store.positions()["g"]
        found = store.pairs("triage", 10_000)
        assert reported >= 40
        assert store.depth("triage").waiting == len(found) >= reported
        assert position <= len(found)
        store.close()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_many_open_a_new_file_at_once(url: str):
    faults: list[Exception] = []

    def open_and_write(number: int) -> None:
        try:
            store = open_store(url)
            store.put_key(key(f"k{number}"))
            store.close()
        except (StoreUnavailable, ConfigurationError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=open_and_write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    store = open_store(url)
    assert len(store.keys()) == store.sequence() == 8
    store.close()


def test_a_file_of_another_version_is_refused(url: str, path: Path):
    open_store(url).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match=f"schema version 99, this program reads {SCHEMA_VERSION}"):
        open_store(url)


def test_a_file_that_is_no_database_is_unavailable(url: str, path: Path):
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, it only looks like a file" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        open_store(url)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match=r"store .*file/store\.db"):
        open_store(f"sqlite:///{tmp_path}/file/store.db")


def test_a_locked_file_is_unavailable_and_nothing_is_written(url: str, path: Path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    store = open_store(url)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.put_key(key())
    assert store.keys() == ()
    blocker.execute("ROLLBACK")
    blocker.close()
    store.put_key(key())
    assert len(store.keys()) == 1
    store.close()


def test_a_closed_store_is_unavailable(url: str):
    store = open_store(url)
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.sequence()


def test_depth_takes_as_many_steps_whatever_a_route_keeps(path: Path):
    """Control asks it of every route, every second."""
    steps, kept = [], Database(path)
    pairs = SqlitePairs(kept)
    for number in range(2):
        rows = [pair(f"{number}-{n}", float(n), excluded="parity" if n % 4 == 0 else None) for n in range(300)]
        pairs.join(Joined(pairs=rows))
        counted = [0]

        def step(counted: list[int] = counted) -> int:
            counted[0] += 1
            return 0

        with kept.read() as connection:
            connection.set_progress_handler(step, 1)
        pairs.depth("triage")
        with kept.read() as connection:
            connection.set_progress_handler(None, 1)
        steps.append(counted[0])
    kept.close()
    assert 0 < steps[1] < steps[0] + 20


def test_a_rebuilt_store_has_a_higher_generation(path: Path):
    generations = []
    for clock in (lambda: 1000.5, lambda: 2000.5):
        store = SqliteStore(Database(path, clock))
        store.publish(config())
        snapshot = store.snapshot()
        assert snapshot is not None
        generations.append(snapshot.generation)
        store.close()
        for file in path.parent.iterdir():
            file.unlink()
    assert generations == [1000, 2000]


def test_reopening_keeps_everything(url: str):
    store = open_store(url)
    store.publish(config())
    store.join(Joined(pairs=[pair("p1", 1.0)]))
    store.judged([judgement("p1")])
    before = store.snapshot()
    store.close()
    store = open_store(url)
    assert store.snapshot() == before
    assert [row.pair.id for row in store.unfolded("triage", 10, 0.0)] == ["p1"]
    store.close()


def test_one_store_serves_threads_one_at_a_time(url: str):
    store = open_store(url)
    threads = [threading.Thread(target=lambda n=n: store.put_key(key(f"k{n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.sequence() == len(store.keys()) == 8
    store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://host:6379/0.*not yet supported"),
        ("mysql://host/db", "names no store"),
        ("data/tutelage.db", "names no store"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://data/x.db", "names no file"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, message: str):
    with pytest.raises(ConfigurationError, match=message) as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)


def test_a_relative_url_counts_from_the_working_directory(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///data/tutelage.db").close()
    assert (tmp_path / "data" / "tutelage.db").exists()
