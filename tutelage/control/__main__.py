"""`python -m tutelage.control --config FILE`: the composition root of the control role.

The loop has a thread and a store of its own, the admin plane another store on the desk's thread: they meet in the
store only.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import structlog
import uvicorn

from router.rollout import IllegalTransition
from scoring.judges import JUDGES
from scoring.judges.prompt import prompt_hash
from scoring.rubrics.labels import load_labels
from scoring.rubrics.load import load_rubric, rubrics_folder
from scoring.rubrics.schema import Rubric
from scoring.rubrics.scorer import compile_rubric
from tutelage import logs
from tutelage.contracts.errors import ConfigurationError, TutelageError
from tutelage.contracts.ids import uuid7
from tutelage.contracts.load import load
from tutelage.contracts.records import Spooled
from tutelage.contracts.settings import Settings
from tutelage.control.adaptive import AdaptiveSampling
from tutelage.control.app import application
from tutelage.control.chores import Retention, ShadowBudget, TeacherRate
from tutelage.control.decide import Gatekeeper
from tutelage.control.declaration import digest
from tutelage.control.desk import Desk
from tutelage.control.drift import JudgeDrift
from tutelage.control.health import Health
from tutelage.control.judging import JudgeRates
from tutelage.control.loop import Loop, Parts
from tutelage.control.metrics import Metrics
from tutelage.control.signals import Signalling
from tutelage.control.snapshot import Publisher, Sources
from tutelage.control.tail import Tail
from tutelage.store.base import Store
from tutelage.store.registry import open_store

log = structlog.get_logger()

_STOP_S = 10.0


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. 0 where it ended in order, 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="tutelage control", description="The control role.")
    parser.add_argument("--config", type=Path, default=Path("tutelage.yaml"))
    logs.add_option(parser)
    arguments = parser.parse_args(argv)
    config: Path = arguments.config
    logs.configure("control", arguments.log_to)
    try:
        settings = load(config)
        return asyncio.run(_run(settings, rubrics_folder(config, settings.rubrics)))
    except (TutelageError, IllegalTransition) as fault:
        log.error("control cannot start", reason=str(fault))  # noqa: TRY400 - the reason is the message, not the stack
        return 2 if isinstance(fault, ConfigurationError) else 1


def rubric_digests(settings: Settings, folder: Path) -> dict[str, str]:
    """SHA-256 of each rubric's content, of its right answers and of how its judge is asked, by name: others are another
    epoch.
    """
    names = {route.rubric for route in settings.routes.values() if route.rubric is not None}
    rubrics = {name: load_rubric(folder, name) for name in names}
    return {
        name: digest(
            [rubric.model_dump(mode="json"), _labels(folder, rubric), prompt_hash(rubric, JUDGES[rubric.judging])]
        )
        for name, rubric in rubrics.items()
    }


def _labels(folder: Path, rubric: Rubric) -> str | None:
    return None if rubric.labels is None else digest(load_labels(folder / rubric.labels))


def sources() -> Sources:
    """The system's own identifiers and randomness."""
    return Sources(new_id=uuid7, new_salt=lambda: os.urandom(8).hex())


async def _run(settings: Settings, rubrics: Path) -> int:
    metrics = Metrics()
    stop = threading.Event()
    loop, store = _loop(settings, rubrics, metrics)
    thread = threading.Thread(target=loop.run, args=(stop,), name="control loop", daemon=True)
    listener = _listener(settings.admin.bind)
    desk = Desk(lambda: open_store(settings.store.url))
    server = _server(settings, desk, metrics, thread)
    thread.start()
    try:
        await _serve(server, listener)
    finally:
        stop.set()
        await asyncio.to_thread(thread.join, _STOP_S)
        await desk.aclose()
        if not thread.is_alive():
            store.close()
    return 0 if not thread.is_alive() else 1


def _loop(settings: Settings, rubrics: Path, metrics: Metrics) -> tuple[Loop, Store]:
    store = open_store(settings.store.url)
    made = sources()
    data_dir = Path(settings.data_dir)

    budget = ShadowBudget(store, settings)

    def seen(record: Spooled) -> None:
        metrics.saw_record(record)
        budget.saw(record)
        health.saw(record)

    tail = Tail(store, data_dir, seen)
    drift = JudgeDrift(store)
    health = Health(data_dir, tail.overdue, drift.watch)
    parts = Parts(
        store=store,
        settings=settings,
        publisher=Publisher(settings, rubric_digests(settings, rubrics), made),
        tail=tail,
        keeper=Gatekeeper(store, settings, metrics, made.new_id, health),
        health=health,
        metrics=metrics,
        judge_rates=JudgeRates(store, settings, metrics).now,
        scorers={
            route.rubric: compile_rubric(rubrics, route.rubric) for route in settings.routes.values() if route.rubric
        },
        chores=(
            TeacherRate(store, settings),
            AdaptiveSampling(store, settings),
            drift,
            Signalling(store, health, metrics),
            budget,
            Retention(store, settings, metrics, data_dir),
        ),
    )
    holder = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
    return Loop(parts, holder, time.time), store


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it would raise the signal again when it has ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(settings: Settings, desk: Desk, metrics: Metrics, thread: threading.Thread) -> _Server:
    app = application(desk, metrics.scrape, thread.is_alive)
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
    )


def _listener(bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as fault:
        why = f"{fault.strerror}; end what listens there, or name another address"
        raise ConfigurationError(f"admin.bind {bind}: {why}") from fault


async def _serve(server: _Server, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.should_exit = True

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, end)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
