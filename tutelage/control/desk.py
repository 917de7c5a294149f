"""The desk: the store as the admin plane asks it, on threads of its own, so that no call blocks the event loop.

Owns two threads, each with a store: one for what is answered at once, one for what reads everything, so that nobody who
kills or pauses a rollout waits for somebody's replay. Must not know what is asked.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tutelage.contracts.errors import UnknownName
from tutelage.contracts.ids import uuid7
from tutelage.store.base import Store

T = TypeVar("T")


class Desk:
    """`await desk.ask(lambda store: store.rollout(name))`. `opened` opens a store, `clock` gives UTC seconds, `new_id` names
    records.
    """

    def __init__(
        self,
        opened: Callable[[], Store],
        clock: Callable[[], float] = time.time,
        new_id: Callable[[float], str] = uuid7,
    ) -> None:
        self.clock = clock
        self.new_id = new_id
        self._asked, self._studied = (_Place(opened(), name) for name in ("desk", "study"))

    async def ask(self, question: Callable[[Store], T]) -> T:
        """What `question` answers, asked on the store's thread. Errors of the store are raised here."""
        return await self._asked.answer(question)

    async def study(self, question: Callable[[Store], T]) -> T:
        """The same of a question that reads so much that others must not wait for it. One at a time."""
        return await self._studied.answer(question)

    async def aclose(self) -> None:
        """Wait for the questions under way and close the stores."""
        await self._asked.aclose()
        await self._studied.aclose()


class _Place:
    """A store and the one thread that uses it."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def answer(self, question: Callable[[Store], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._store)

    async def aclose(self) -> None:
        await self.answer(lambda store: store.close())
        self._thread.shutdown()


def found(value: T | None, what: str, name: str, there_are: list[str]) -> T:
    """`value`, or UnknownName that names what there is."""
    if value is None:
        names = ", ".join(sorted(there_are)) or "none"
        raise UnknownName(f"no {what} {name[:128]!r}; there are {names}")
    return value
