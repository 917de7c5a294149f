"""What every system under test is to the bench: something that installs itself, runs in front of a model server, and is asked."""

import socket
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a system runs: `upstream` is the model server's address without `/v1`, `folder` its own and empty."""

    upstream: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running system. Requests go to `url` + /v1/chat/completions with `headers`, naming `models` in turns; `pid` is the
    root of the process tree that is measured, None where there is none (the model server asked directly).
    Several `keys` are sent in turns as bearer tokens. `patience`: how many times longer a slow system is measured."""

    name: str
    url: str
    pid: int | None
    version: str = ""
    patience: int = 1
    models: tuple[str, ...] = ("mock-1",)
    keys: tuple[str, ...] = ("sk-mock",)
    headers: tuple[tuple[str, str], ...] = ()


class System(Protocol):
    """One column of the tables."""

    @property
    def name(self) -> str: ...

    def install(self) -> None:
        """Make it ready to run. Raises NotInstalled where it cannot be had."""
        ...

    def running(self, place: Place) -> AbstractContextManager[Target]:
        """It at work until the block ends. Raises NotStarted."""
        ...


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
