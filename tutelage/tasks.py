"""Background tasks in one place: references are kept, crashes are logged, the end is awaited."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Tasks:
    """The background tasks of one component. Start them here only; `drain` is its last act."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def drain(self, deadline_s: float) -> int:
        """Wait for the tasks to end, then cancel what is left; returns how many had to be cancelled."""
        if not self._running:
            return 0
        _, late = await asyncio.wait(tuple(self._running), timeout=deadline_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return len(late)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (crash := task.exception()) is not None:
            log.error("task crashed", task=task.get_name(), exc_info=crash)
