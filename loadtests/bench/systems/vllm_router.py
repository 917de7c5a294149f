"""vllm-router, vLLM's own front in Rust, with one worker behind it and no capture."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.install import python
from loadtests.bench.processes import running
from loadtests.bench.systems.base import Place, Target, free_port

VERSION = "0.1.17"
LEAN = ("--policy", "round_robin", "--log-level", "error")
"""The least that it can be told to do: no prefix tree, no line per request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmRouter:
    """The package from PyPI, as it starts by default or with `options`."""

    name: str = "vllm-router"
    options: tuple[str, ...] = ()

    def install(self) -> None:
        self._interpreter()

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        port = free_port()
        argv = [
            str(self._interpreter().parent / "vllm-router"),
            *("--host", "127.0.0.1", "--port", str(port), "--worker-urls", place.upstream),
            *("--worker-startup-check-interval", "1"),
            *("--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())),
            *self.options,
        ]
        url = f"http://127.0.0.1:{port}"
        with running(argv, log=place.folder / "vllm-router.log", ready_url=f"{url}/health") as pid:
            yield Target(name=self.name, url=url, pid=pid, version=VERSION)

    def _interpreter(self) -> Path:
        return python("vllm-router", f"vllm-router=={VERSION}")
