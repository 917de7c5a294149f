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
    for role, module in (("gateway", "gateway"), ("control", "tutelage.control"), ("worker", "scoring.worker")):
        app.command(role, help=f"Run the {role} role alone.")(_role(module))


def serve(config: Config = DEFAULT_CONFIG) -> None:
    """Run everything on this machine: gateways, control and worker, restarted when they fail."""
    logs.configure("serve")
    with opened(config) as (settings, store):
        environment = _environment(settings, store)
        if not any(key.role == "data" and key.revoked_at is None for key in store.keys()):
            say("no API key yet: make one with `tutelage keys create`")
    say(f"data plane http://{settings.gateway.bind}/v1  ·  admin plane http://{settings.admin.bind}/admin")
    sys.exit(asyncio.run(Supervisor(roles(settings, config.resolve()), environment).run()))


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


def _role(module: str):  # type: ignore[no-untyped-def]
    def run(
        config: Config = DEFAULT_CONFIG,
        index: Annotated[int, typer.Option(help="Which of several on one machine (gateway only).")] = 0,
    ) -> None:
        load(config)
        argv = [sys.executable, "-m", module, "--config", str(config)]
        os.execv(sys.executable, argv + (["--index", str(index)] if module == "gateway" else []))

    return run
