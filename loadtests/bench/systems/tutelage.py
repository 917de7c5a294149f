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
from pathlib import Path
from typing import Any

import httpx
import yaml

from loadtests.bench.processes import POLL_S, NotStarted, running
from loadtests.bench.systems.base import Place, Target, free_port
from tutelage import __version__
from tutelage.contracts.load import load
from tutelage.store.registry import open_store

ROUTE = "tickets"
PUBLISHED_S = 60.0
_ENVIRONMENT = {"BENCH_KEY": "sk-mock"}
_COMMAND = (sys.executable, "-m", "tutelage.cli.main")
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

    def install(self) -> None:
        """It is the project itself."""

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        port, admin_port = free_port(), free_port()
        configuration = place.folder / "tutelage.yaml"
        configuration.write_text(yaml.safe_dump(self._document(place, port, admin_port), sort_keys=False))
        key = _new_key(configuration)
        url = f"http://127.0.0.1:{port}"
        control = [*_COMMAND, "control", "--config", str(configuration)]
        with running(control, log=place.folder / "control.log", ready_url=f"http://127.0.0.1:{admin_port}/metrics"):
            _wait_until_published(configuration)
        gateway = [*_COMMAND, "gateway", "--config", str(configuration)]
        with running(
            gateway, log=place.folder / "gateway.log", ready_url=f"{url}/readyz", environment=_ENVIRONMENT
        ) as pid:
            _expect_split(url)
            yield Target(name=self.name, url=url, pid=pid, version=__version__, models=(ROUTE,), keys=(key,))

    def _document(self, place: Place, port: int, admin_port: int) -> dict[str, Any]:
        arm = {"base_url": f"{place.upstream}/v1", "model": "mock-1", "api_key": "${BENCH_KEY}"}
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
            "data_dir": str(place.folder / "data"),
            "gateway": {"bind": f"127.0.0.1:{port}", "processes": 1, "metrics_port": 0},
            "admin": {"bind": f"127.0.0.1:{admin_port}"},
            "limits": {"streams": 4096},
            "upstreams": {
                "teacher": {"kind": "openai", **arm},
                "student": {"kind": "vllm", **arm, "trained_until": "2026-01-01"},
            },
            "routes": {ROUTE: route},
        }


def _new_key(configuration: Path) -> str:
    command = [*_COMMAND, "keys", "create", "--json", "--config", str(configuration)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise NotStarted(f"tutelage keys create: {made.stderr.strip()}")
    key: str = json.loads(made.stdout)["key"]
    return key


def _wait_until_published(configuration: Path) -> None:
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
