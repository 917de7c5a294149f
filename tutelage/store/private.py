"""Files for their owner alone: what people wrote to models lies in the store and in the spools.

SQLite gives its log and shared memory the mode of the file itself, so it is enough to make that first. Must not know
what is in it.
"""

import os
from contextlib import suppress
from pathlib import Path


def make_private(path: Path) -> None:
    """Make an empty file that its owner alone may read; one that is there stays as it is. Raises OSError."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
