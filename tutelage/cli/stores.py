"""What a configuration names, for one command: its store, a route's rollout in it, its kill file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.rollout import Rollout
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


def standing(settings: Settings, store: Store, route: str) -> Rollout:
    """Where the route stands. Raises UnknownName where there is no such route, or no rollout of it."""
    rollout = store.rollout(known(settings, route))
    if rollout is None:
        why = "has no student" if settings.routes[route].student is None else "is not published yet: start control once"
        raise UnknownName(f"route {route!r} {why}")
    return rollout


def kill_file(settings: Settings, route: str) -> Path:
    """What the gateways on this host obey: the student of `route` serves nothing while it exists."""
    return Path(settings.data_dir) / "kill" / known(settings, route)
