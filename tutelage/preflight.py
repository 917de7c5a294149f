"""What must hold before `serve` starts anything: the data folder is its own, and its addresses are free.

A role that cannot start is started again for ever, which is right at night and wrong at the first try: here the first fault
ends the command, with the setting and the fix. Must not know roles.
"""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.settings import Settings

LOCK = "serve.lock"
FREE_WITHIN_S = 3.0
"""The processes of a `serve` that was killed end within this time."""
_POLL_S = 0.1


@contextmanager
def sole(data_dir: Path) -> Iterator[None]:
    """Hold `data_dir` until the block ends, or this process does. Raises ConfigurationError where another one holds it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        held = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        why = f"{fault.strerror}: {fault.filename}"
        raise ConfigurationError(f"data_dir {data_dir}: {why}; name a folder that this user may write") from fault
    try:
        _lock(held, data_dir)
        yield
    finally:
        os.close(held)


def _lock(held: int, data_dir: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(held, 32).decode(errors="replace").strip() or "another process"
        raise ConfigurationError(
            f"data_dir {data_dir} is served already, by process {holder}: end it, or name another data_dir"
        ) from None
    with suppress(OSError):  # on a full disk the lock holds without its holder's name
        os.ftruncate(held, 0)
        os.write(held, f"{os.getpid()}\n".encode())


def addresses(settings: Settings, cores: int) -> Iterator[tuple[str, str]]:
    """Every setting that names an address of `serve` on a host of `cores`, and the address."""
    yield "gateway.bind", settings.gateway.bind
    yield "admin.bind", settings.admin.bind
    host = settings.gateway.bind.rpartition(":")[0]
    if settings.gateway.metrics_port:
        for index in range(settings.gateway.count(cores)):
            yield "gateway.metrics_port", f"{host}:{settings.gateway.metrics_port + index}"


def free(settings: Settings, cores: int, within_s: float = FREE_WITHIN_S) -> None:
    """Raises ConfigurationError for the first address that cannot be listened on `within_s`.

    All are held until the last: the gateway's sockets may share an address, and would share it with its own metrics too.
    """
    deadline = time.monotonic() + within_s
    with ExitStack() as held:
        for setting, address in addresses(settings, cores):
            while (fault := _fault(address, held)) is not None:
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"{setting} {address}: {fault.strerror}; end what listens there, or name another address"
                    ) from fault
                time.sleep(_POLL_S)


def _fault(address: str, held: ExitStack) -> OSError | None:
    """Why nobody could listen there now; None where `held` has it."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, int(port)))
        probe.listen(1)
    except OSError as fault:
        probe.close()
        return fault
    held.enter_context(probe)
    return None
