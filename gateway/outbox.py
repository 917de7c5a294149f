"""The outbox: what the connections of one turn of the event loop have to say goes out together at the beginning of the next.

A write wakes whoever waits for it, and to wake a process that sleeps costs the writer more than the write: 8 µs each on a
virtual machine. Between two writes of one request's handling everybody has long gone to sleep again; of twenty writes in a row
the first wakes its reader, and most of the others find it awake. Must not know what is written.
"""

import asyncio
from typing import Protocol


class Sender(Protocol):
    """A connection with something to write."""

    def flush(self) -> None:
        """Write it. Raises nothing; there may be nothing left to write."""


class Outbox:
    """For one event loop."""

    __slots__ = ("_loop", "_senders")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._senders: list[Sender] = []

    def put(self, sender: Sender) -> None:
        """Let `sender` write in the loop's next turn, after those who asked before it."""
        senders = self._senders
        senders.append(sender)
        if len(senders) == 1:
            loop = self._loop = self._loop or asyncio.get_running_loop()
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()
