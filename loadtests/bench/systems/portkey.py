"""Portkey's gateway on Node.js: the provider's address in headers, as its documentation has it for hosts of one's own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.bench.install import node
from loadtests.bench.processes import running
from loadtests.bench.systems.base import Place, Target, free_port

VERSION = "1.15.2"


class Portkey:
    """The package from npm."""

    name = "portkey"

    def install(self) -> None:
        self._modules()

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        port = free_port()
        script = self._modules() / "@portkey-ai/gateway/build/start-server.js"
        argv = [shutil.which("node") or "node", str(script), f"--port={port}", "--headless"]
        url = f"http://127.0.0.1:{port}"
        headers = (("x-portkey-provider", "openai"), ("x-portkey-custom-host", f"{place.upstream}/v1"))
        with running(argv, log=place.folder / "portkey.log", ready_url=f"{url}/") as pid:
            yield Target(name=self.name, url=url, pid=pid, version=VERSION, headers=headers)

    def _modules(self) -> Path:
        return node(self.name, f"@portkey-ai/gateway@{VERSION}")
