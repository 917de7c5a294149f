"""Ours whole: `tutelage serve` in a folder of its own, as on one machine. For what needs control and worker at work."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loadtests.bench.processes import NotStarted, running, tree
from loadtests.bench.systems.base import free_port
from loadtests.bench.systems.tutelage import COMMAND, ENVIRONMENT, new_key, wait_until_published

_GATEWAY = b"\0-m\0gateway\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A running installation: the data plane's and the gateway's own address, a key, and two roots of process trees."""

    url: str
    metrics_url: str
    key: str
    supervisor: int
    gateway: int


@contextmanager
def serving(folder: Path, document: Mapping[str, Any]) -> Iterator[Serving]:
    """Serve `document` (the configuration but for places and ports) until the block ends. Raises NotStarted."""
    port, metrics_port = free_port(), free_port()
    configuration = folder / "tutelage.yaml"
    complete = {
        **document,
        "data_dir": str(folder / "data"),
        "gateway": {"bind": f"127.0.0.1:{port}", "processes": 1, "metrics_port": metrics_port},
        "admin": {"bind": f"127.0.0.1:{free_port()}"},
        "internal": {"gateway_url": f"http://127.0.0.1:{port}"},
    }
    configuration.write_text(yaml.safe_dump(complete, sort_keys=False))
    key = new_key(configuration)
    url = f"http://127.0.0.1:{port}"
    serve = [*COMMAND, "serve", "--config", str(configuration)]
    with running(serve, log=folder / "serve.log", ready_url=f"{url}/readyz", environment=ENVIRONMENT) as supervisor:
        wait_until_published(configuration)
        yield Serving(
            url=url,
            metrics_url=f"http://127.0.0.1:{metrics_port}/metrics",
            key=key,
            supervisor=supervisor,
            gateway=_gateway(supervisor),
        )


def _gateway(supervisor: int) -> int:
    """The pid of the gateway among the supervisor's children."""
    for stat in tree(supervisor):
        if _GATEWAY in Path(f"/proc/{stat.pid}/cmdline").read_bytes():
            return stat.pid
    raise NotStarted("tutelage serve has no gateway process")
