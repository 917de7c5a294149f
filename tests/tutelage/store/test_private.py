"""What people wrote is for the owner of the files alone, whatever the umask of the process."""

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tutelage.store.private import make_private
from tutelage.store.registry import open_store


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_store_its_log_and_its_shared_memory_are_private(tmp_path: Path):
    with closing(open_store(f"sqlite:///{tmp_path}/t.db")):
        assert modes(tmp_path) == dict.fromkeys(("t.db", "t.db-shm", "t.db-wal"), "0o600")


def test_a_file_that_is_there_keeps_its_mode_and_content(tmp_path: Path):
    (path := tmp_path / "there").write_text("content")
    path.chmod(0o640)
    make_private(path)
    assert (modes(tmp_path), path.read_text()) == ({"there": "0o640"}, "content")
