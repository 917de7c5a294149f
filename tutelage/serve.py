"""The supervisor of one machine: gateway processes, one control, one worker, each a process of its own, restarted with back-off.

Owns processes and signals only. SIGTERM or SIGINT drains the gateways first, while control and worker still take in what they
spool, then ends the rest. A child whose supervisor is killed gets SIGTERM from the kernel (Linux).
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from tutelage.contracts.settings import Settings
from tutelage.lifetime import ends_with_this_process

log = structlog.get_logger()

FIRST_BACKOFF_S = 0.25
MAX_BACKOFF_S = 30.0
STEADY_S = 60.0
"""A child that lived this long starts again without delay."""
STOP_S = 10.0
_IN_ORDER = (0, -signal.SIGTERM)
"""How a child ends that was told to: after its drain, or before it had anything to drain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One child process: its name, what to run, and how long it may take to end."""

    name: str
    argv: tuple[str, ...]
    stop_s: float = STOP_S


def roles(settings: Settings, config: Path, *more: str) -> tuple[Role, ...]:
    """The processes of `settings` on this machine: gateways, control, worker; each with the arguments `more`."""
    python = (sys.executable, "-m")
    tail = ("--config", str(config), *more)
    gateways = settings.gateway.count(os.cpu_count() or 1)
    return (
        *(
            Role(
                name=f"gateway-{index}",
                argv=(*python, "gateway", *tail, "--index", str(index)),
                stop_s=settings.gateway.drain_deadline + STOP_S,
            )
            for index in range(gateways)
        ),
        Role(name="control", argv=(*python, "tutelage.control", *tail)),
        Role(name="worker", argv=(*python, "scoring.worker", *tail)),
    )


def new_secret() -> str:
    """256 random bits, the shape of every key that the program makes."""
    return f"tut-{secrets.token_urlsafe(32)}"


class Supervisor:
    """Runs roles until `stop` is called. `environment` is what the children get."""

    def __init__(
        self, roles: tuple[Role, ...], environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._roles = roles
        self._environment = dict(environment)
        self._clock = clock
        self._stopping = asyncio.Event()
        self._children: dict[str, asyncio.subprocess.Process] = {}

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; 0 where every child then ended in time."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stopping.set)
        keepers = [asyncio.create_task(self._keep(role), name=role.name) for role in self._roles]
        await self._stopping.wait()
        gateways = [role for role in self._roles if role.name.startswith("gateway")]
        in_time = await self._end(gateways)
        in_time &= await self._end([role for role in self._roles if role not in gateways])
        await asyncio.gather(*keepers)
        return 0 if in_time else 1

    async def _keep(self, role: Role) -> None:
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            started = self._clock()
            child = await asyncio.create_subprocess_exec(
                *role.argv,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # terminal signals go to the supervisor only
                preexec_fn=ends_with_this_process(),
            )
            self._children[role.name] = child
            log.info("started", child=role.name, pid=child.pid)
            code = await child.wait()
            if self._stopping.is_set():
                return
            backoff_s = FIRST_BACKOFF_S if self._clock() - started > STEADY_S else min(backoff_s * 2, MAX_BACKOFF_S)
            log.error("ended by itself; starting it again", child=role.name, exit_code=code, after_s=backoff_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)

    async def _end(self, roles: list[Role]) -> bool:
        return all(await asyncio.gather(*(self._end_one(role) for role in roles)))

    async def _end_one(self, role: Role) -> bool:
        child = self._children.get(role.name)
        if child is None or child.returncode is not None:
            return True
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), role.stop_s)
        except TimeoutError:
            log.warning("did not end in time; killed", child=role.name, after_s=role.stop_s)
            child.kill()
            await child.wait()
            return False
        return child.returncode in _IN_ORDER
