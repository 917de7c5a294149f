"""Which store a URL names: the one place where kinds of stores are known.

To add a store: one file beside this one that passes tests/tutelage/store/contract.py, one line in STORES.
"""

from collections.abc import Callable
from pathlib import Path

from tutelage.contracts.errors import ConfigurationError
from tutelage.store.base import Store
from tutelage.store.database import Database
from tutelage.store.sqlite import SqliteStore


def open_store(url: str) -> Store:
    """The store at `url`: `sqlite:///relative.db` or `sqlite:////absolute.db`, made where it is not there.

    Raises ConfigurationError for a URL that names none, StoreUnavailable where it cannot be reached.
    """
    scheme, separator, rest = url.partition("://")
    opener = STORES.get(scheme) if separator else None
    if opener is None:
        raise ConfigurationError(f"store.url {url!r} names no store: write sqlite:///data/tutelage.db")
    return opener(url, rest)


def _sqlite(url: str, rest: str) -> Store:
    if not rest.startswith("/") or len(rest) < 2 or rest.endswith("/"):
        raise ConfigurationError(
            f"store.url {url!r} names no file: write sqlite:///data/tutelage.db, or four slashes for an absolute path"
        )
    return SqliteStore(Database(Path(rest[1:])))


def _redis(url: str, rest: str) -> Store:
    raise ConfigurationError(f"store.url {_without_password(url)!r}: Redis is not yet supported; use sqlite:///FILE")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


STORES: dict[str, Callable[[str, str], Store]] = {"sqlite": _sqlite, "redis": _redis, "rediss": _redis}
