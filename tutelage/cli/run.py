"""`tutelage serve`, and the roles by themselves: `gateway`, `control`, `worker`."""

import asyncio
import hashlib
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import structlog
import typer

from tutelage import logs
from tutelage.cli.output import DEFAULT_CONFIG, Config, say
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.keys import Key
from tutelage.contracts.load import load
from tutelage.contracts.settings import Settings
from tutelage.contracts.snapshot import SNAPSHOT
from tutelage.preflight import free, sole
from tutelage.serve import Supervisor, new_secret, roles
from tutelage.store.base import Store
from tutelage.store.registry import open_store

log = structlog.get_logger()

LogAsJson = Annotated[bool, typer.Option("--json", help="Standard output is the log, one JSON object a line.")]
INTERNAL_KEY = "TUTELAGE_INTERNAL_KEY"
_INTERNAL_ID = "internal"


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)
    app.command("gateway")(gateway)
    app.command("control")(control)
    app.command("worker")(worker)


def serve(config: Config = DEFAULT_CONFIG, as_json: LogAsJson = False) -> None:
    """Run everything on this machine: gateways, control and worker, restarted when they fail."""
    logs.configure("serve", sys.stdout if as_json else sys.stderr)
    settings = load(config)
    with sole(Path(settings.data_dir)):
        free(settings, os.cpu_count() or 1)
        environment, has_key = _prepared(settings)
        data_plane, admin_plane = f"http://{settings.gateway.bind}/v1", f"http://{settings.admin.bind}/admin"
        if as_json:
            log.info("starting", data_plane=data_plane, admin_plane=admin_plane, has_key=has_key)
        else:
            if not has_key:
                say("no API key yet: make one with `tutelage keys create`")
            say(f"data plane {data_plane}  ·  admin plane {admin_plane}")
        supervisor = Supervisor(roles(settings, config.resolve(), *_passed_on(as_json)), environment)
        code = asyncio.run(supervisor.run())
    sys.exit(code)


def _prepared(settings: Settings) -> tuple[dict[str, str], bool]:
    """The children's environment, and whether anybody has a key. A store that is gone ends the first start only: where there
    is a snapshot, gateways serve by it."""
    try:
        with closing(open_store(settings.store.url)) as store:
            keys = store.keys()
            return _environment(settings, store), any(key.role == "data" and key.revoked_at is None for key in keys)
    except StoreUnavailable as fault:
        if not (Path(settings.data_dir) / SNAPSHOT).exists():
            raise
        what = "the store is out of reach: serving by the last snapshot; judges are asked after the next start"
        log.error(what, reason=str(fault))  # noqa: TRY400 - the reason is the message, not the stack
        return {**os.environ, INTERNAL_KEY: new_secret()}, True


def gateway(
    *,
    config: Config = DEFAULT_CONFIG,
    index: Annotated[int, typer.Option(min=0, help="Which of several on one machine.")] = 0,
    as_json: LogAsJson = False,
) -> None:
    """Run one gateway alone: the data plane."""
    _become("gateway", config, "--index", str(index), *_passed_on(as_json))


def control(config: Config = DEFAULT_CONFIG, as_json: LogAsJson = False) -> None:
    """Run control alone: admin plane, join, gates."""
    _become("tutelage.control", config, *_passed_on(as_json))


def worker(config: Config = DEFAULT_CONFIG, as_json: LogAsJson = False) -> None:
    """Run a worker alone: checks and judges."""
    _become("scoring.worker", config, *_passed_on(as_json))


def _passed_on(as_json: bool) -> tuple[str, ...]:
    """The option, as the roles take it."""
    return ("--json",) if as_json else ()


def _become(module: str, config: Path, *more: str) -> None:
    """Replace this process by the role, so that signals reach it. A configuration that does not load starts nothing."""
    load(config)
    argv = [sys.executable, "-m", module, "--config", str(config), *more]
    os.execv(sys.executable, argv)  # noqa: S606 - no shell: our own interpreter with a list of arguments


def _environment(settings: Settings, store: Store) -> dict[str, str]:
    """The children's environment: ours, with a fresh internal key where the configuration names none."""
    environment = dict(os.environ)
    if settings.internal.key is None:
        environment[INTERNAL_KEY] = new_secret()
        digest = hashlib.sha256(environment[INTERNAL_KEY].encode()).hexdigest()
        store.put_key(
            Key(
                id=_INTERNAL_ID,
                digest=digest,
                tenant="tutelage",
                label="judge calls of the worker",
                created_at=time.time(),
                role="internal",
                may_pin=True,
                may_log=False,
                may_train=False,
            )
        )
    return environment
