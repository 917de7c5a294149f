"""Ours, as users start it: keys made by the command, control publishes the split into the store, then `tutelage gateway`.

One gateway process is measured. Control has ended before: what it does with the spool is its own, on its own core, and would
only disturb the neighbours' rounds. Both arms are the same model server, so the split costs what it costs and changes nothing.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml

from loadtests.bench.processes import POLL_S, NotStarted, running
from loadtests.bench.systems.base import Place, Target, free_port
from tutelage import __version__
from tutelage.contracts.keys import Key
from tutelage.contracts.load import load
from tutelage.store.database import Database
from tutelage.store.registry import open_store

ROUTE = "tickets"
PUBLISHED_S = 60.0
KEYS_SENT = 1_000
"""Of many keys so many are sent in turns."""
COMMAND = (sys.executable, "-m", "tutelage.cli.main")
ENVIRONMENT = {"BENCH_KEY": "sk-mock"}
_FULL = {"content": "full", "purpose": "benchmark"}
CAPTURE_OFF: Mapping[str, Any] = {"content": "off"}
CAPTURE_ON: Mapping[str, Any] = {**_FULL, "redact": []}
CAPTURE_REDACTED: Mapping[str, Any] = {**_FULL, "redact": ["secrets", "contact"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tutelage:
    """One way to configure it. As it stands: capture of everything, redacted, and usage injected into streams."""

    name: str = "tutelage"
    capture: Mapping[str, Any] = field(default_factory=lambda: CAPTURE_REDACTED)
    usage: str = "inject"
    shadow: str = "0%"
    routes: int = 1
    keys: int = 1

    def install(self) -> None:
        """It is the project itself."""

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        port, admin_port = free_port(), free_port()
        configuration = place.folder / "tutelage.yaml"
        document = {
            **self.document(place.upstream),
            "data_dir": str(place.folder / "data"),
            "gateway": {"bind": f"127.0.0.1:{port}", "processes": 1, "metrics_port": 0},
            "admin": {"bind": f"127.0.0.1:{admin_port}"},
        }
        configuration.write_text(yaml.safe_dump(document, sort_keys=False))
        keys = (new_key(configuration), *_many_keys(configuration, self.keys - 1))
        url = f"http://127.0.0.1:{port}"
        control = [*COMMAND, "control", "--config", str(configuration)]
        with running(control, log=place.folder / "control.log", ready_url=f"http://127.0.0.1:{admin_port}/metrics"):
            wait_until_published(configuration)
        gateway = [*COMMAND, "gateway", "--config", str(configuration)]
        log = place.folder / "gateway.log"
        with running(gateway, log=log, ready_url=f"{url}/readyz", environment=ENVIRONMENT) as pid:
            _expect_split(url)
            yield Target(
                name=self.name, url=url, pid=pid, version=__version__, models=self._routes(), keys=keys[-KEYS_SENT:]
            )

    def document(self, upstream: str) -> dict[str, Any]:
        """The configuration, as an operator would write it, but for places and ports."""
        arm = {"model": "mock-1", "api_key": "${BENCH_KEY}", "max_connections": 4096}
        route = {
            "teacher": "teacher",
            "student": "student",
            "share": "50%",
            "unit": "request",
            "capture": dict(self.capture),
            "usage": self.usage,
            "shadow": {"student": self.shadow, "teacher": self.shadow},
        }
        return {
            "limits": {"streams": 4096},
            "upstreams": {
                "teacher": {"kind": "openai", "base_url": f"{upstream}/teacher/v1", **arm},
                "student": {
                    "kind": "vllm",
                    "base_url": f"{upstream}/student/v1",
                    **arm,
                    "trained_until": "2026-01-01",
                },
            },
            "routes": dict.fromkeys(self._routes(), route),
        }

    def _routes(self) -> tuple[str, ...]:
        return (ROUTE, *(f"{ROUTE}-{number}" for number in range(1, self.routes)))


def new_key(configuration: Path) -> str:
    """A key, made by the command that an operator uses."""
    command = [*COMMAND, "keys", "create", "--json", "--config", str(configuration)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise NotStarted(f"tutelage keys create: {made.stderr.strip()}")
    key: str = json.loads(made.stdout)["key"]
    return key


def _many_keys(configuration: Path, count: int) -> tuple[str, ...]:
    """Further keys, in one transaction: the command commits each by itself, a millisecond and more."""
    if count < 1:
        return ()
    plain = tuple(f"tut-bench-{number:06d}" for number in range(count))
    records = (
        Key(id=f"bench-{number:06d}", digest=sha256(key.encode()).hexdigest(), tenant="bench", label="", created_at=0.0)
        for number, key in enumerate(plain)
    )
    path = Path(load(configuration).store.url.removeprefix("sqlite:///"))
    with closing(Database(path)) as database, database.write() as connection:
        rows = ((key.id, key.created_at, msgspec.json.encode(key)) for key in records)
        connection.executemany("INSERT INTO keys (id, created_at, body) VALUES (?, ?, ?)", rows)
        database.raise_sequence()
    return plain


def wait_until_published(configuration: Path) -> None:
    """Until control has written the split and the configuration into the store."""
    settings = load(configuration)
    deadline = time.monotonic() + PUBLISHED_S
    with closing(open_store(settings.store.url)) as store:
        while time.monotonic() < deadline:
            snapshot = store.snapshot()
            if snapshot is not None and set(settings.routes) <= set(snapshot.rollouts):
                return
            time.sleep(POLL_S)
    raise NotStarted(f"control published no split of {len(settings.routes)} route(s) within {PUBLISHED_S:g} s")


def _expect_split(url: str) -> None:
    """The gateway begins with the store's snapshot, or it would serve the teacher alone and be cheaper than it is."""
    source = httpx.get(f"{url}/readyz", trust_env=False).json()["source"]
    if source != "store":
        raise NotStarted(f"the gateway serves from its {source}, not from the store")
