"""Open the store that a configuration names, for one command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tutelage.contracts.errors import UnknownName
from tutelage.contracts.load import load
from tutelage.contracts.settings import Settings
from tutelage.store.base import Store
from tutelage.store.registry import open_store


@contextmanager
def opened(config: Path) -> Iterator[tuple[Settings, Store]]:
    """The settings in `config` and their store, closed afterwards. Raises ConfigurationError or StoreUnavailable."""
    settings = load(config)
    store = open_store(settings.store.url)
    try:
        yield settings, store
    finally:
        store.close()


def known(settings: Settings, route: str) -> str:
    """The route, where the configuration has it. Raises UnknownName naming what there is."""
    if route not in settings.routes:
        raise UnknownName(f"no route {route[:128]!r}; there are {', '.join(sorted(settings.routes)) or 'none'}")
    return route
