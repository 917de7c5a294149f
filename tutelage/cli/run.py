"""`tutelage serve`, and the roles by themselves: `gateway`, `control`, `worker`."""

import asyncio
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tutelage import logs
from tutelage.cli.output import DEFAULT_CONFIG, Config, say
from tutelage.cli.stores import opened
from tutelage.contracts.load import load
from tutelage.contracts.records import Key
from tutelage.contracts.settings import Settings
from tutelage.serve import Supervisor, new_secret, roles
from tutelage.store.base import Store

INTERNAL_KEY = "TUTELAGE_INTERNAL_KEY"
_INTERNAL_ID = "internal"


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)
    app.command("gateway")(gateway)
    app.command("control")(control)
    app.command("worker")(worker)


def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Run everything on this machine: gateways, control and worker, restarted when they fail."""
    logs.configure("serve")
    with opened(config) as (settings, store):
        environment = _environment(settings, store)
        keys = store.keys()
        if not any(key.role == "data" and key.revoked_at is None for key in keys):
            say("no API key yet: make one with `tutelage keys create`")
    say(f"data plane http://{settings.gateway.bind}/v1  ·  admin plane http://{settings.admin.bind}/admin")
    sys.exit(asyncio.run(Supervisor(roles(settings, config.resolve()), environment).run()))


def gateway(
    config: Config = DEFAULT_CONFIG,
    index: Annotated[int, typer.Option(min=0, help="Which of several on one machine.")] = 0,
) -> None:
    """Run one gateway alone: the data plane."""
    _become("gateway", config, "--index", str(index))


def control(config: Config = DEFAULT_CONFIG) -> None:
    """Run control alone: admin plane, join, gates."""
    _become("tutelage.control", config)


def worker(config: Config = DEFAULT_CONFIG) -> None:
    """Run a worker alone: checks and judges."""
    _become("scoring.worker", config)


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
