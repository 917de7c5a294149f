"""The spool's queue: records on their way from the event loop to the writer's thread, bounded, and what became of each.

Owns the counts of the conservation law (`gateway/spool.py`). One lock, held for microseconds only, keeps them true at every
moment. Must not know what records say, or files.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tutelage.capture.raw import OFF, Raw, attempts_of, without_content
from tutelage.capture.spooled import Packed, pack
from tutelage.capture.translate import REDACTION_FAILED, TOO_LARGE
from tutelage.contracts.records import Feedback

QUEUE_FULL = "queue_full"
DISK_FULL = "disk_full"
OPTED_OUT = "opted_out"
REASONS = (QUEUE_FULL, DISK_FULL, TOO_LARGE, REDACTION_FAILED, OPTED_OUT)

GROUP_RECORDS = 256
GROUP_BYTES = 16 * 2**20
GATHER_S = 0.04
RECORD_BYTES = 2048
"""What a record weighs in the queue beside its body and its answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolCounts:
    """The state of the conservation law. `stubs` are rows without their content, part of `dropped`."""

    eligible: int
    durable: int
    dropped: Mapping[str, int]
    in_queue: int
    stubs: int
    queue_bytes: int

    @property
    def balance(self) -> int:
        """0, always."""
        return self.eligible - self.durable - sum(self.dropped.values()) - self.in_queue


class Item(NamedTuple):
    """A record in the queue. `lost` is set where it came without its content already."""

    raw: Raw | Packed
    number: int
    weight: int
    lost: str | None


class Queue:
    """At most `records` of together at most `weight` bytes. `first_number` is the sequence of the last record before."""

    def __init__(self, *, records: int, weight: int, first_number: int) -> None:
        self._records = records
        self._weight = weight
        self._number = first_number
        self._lock = threading.Lock()
        self._items: deque[Item] = deque()
        self._some = threading.Event()
        self._many = threading.Event()
        self._closing = False
        self._eligible = self._durable = self._stubs = self._held = self._held_weight = 0
        self._dropped = dict.fromkeys(REASONS, 0)

    def put(self, raw: Raw) -> None:
        """Take `raw` over, or count why not."""
        kept: Raw | Packed = raw
        weight, lost, off = _weight(raw), None, False
        if not isinstance(raw, Feedback):
            off = raw.policy.log == OFF
            if weight > self._weight:
                kept, weight, lost = without_content(raw, TOO_LARGE), RECORD_BYTES, TOO_LARGE
            elif not off and (packed := pack(raw)) is not None:
                kept = packed
        items = self._items
        with self._lock:
            self._eligible += 1
            self._number += 1
            if off:
                self._dropped[OPTED_OUT] += 1
            elif self._closing or self._held >= self._records or self._held_weight + weight > self._weight:
                self._dropped[QUEUE_FULL] += 1
            else:
                self._held += 1
                self._held_weight += weight
                items.append(Item(kept, self._number, weight, lost))
                if len(items) == 1:
                    self._some.set()
                elif len(items) == GROUP_RECORDS:
                    self._many.set()

    def take(self) -> list[Item]:
        """The next group, when there is one: after `GATHER_S`, or as soon as it is full. Empty when all is done."""
        self._some.wait()
        self._many.wait(GATHER_S)
        with self._lock:
            group: list[Item] = []
            weight = 0
            while self._items and len(group) < GROUP_RECORDS and weight < GROUP_BYTES:
                group.append(self._items.popleft())
                weight += group[-1].weight
            if not self._closing:
                if not self._items:
                    self._some.clear()
                if len(self._items) < GROUP_RECORDS:
                    self._many.clear()
            return group

    def settle(self, group: Iterable[Item], fates: Iterable[str | None], stubs: int) -> None:
        """Every item of `group` has met its fate: durable (None) or dropped for a reason."""
        with self._lock:
            self._stubs += stubs
            for item, fate in zip(group, fates, strict=True):
                self._held -= 1
                self._held_weight -= item.weight
                if fate is None:
                    self._durable += 1
                else:
                    self._dropped[fate] += 1

    @property
    def behind(self) -> bool:
        """Whether another full group is waiting already, or the end of the process is."""
        return self._many.is_set()

    def close(self) -> None:
        """Nothing more is taken in; `take` empties what is there without gathering."""
        with self._lock:
            self._closing = True
            self._some.set()
            self._many.set()

    def counts(self) -> SpoolCounts:
        with self._lock:
            return SpoolCounts(
                eligible=self._eligible,
                durable=self._durable,
                dropped=dict(self._dropped),
                in_queue=self._held,
                stubs=self._stubs,
                queue_bytes=self._held_weight,
            )


def _weight(raw: Raw) -> int:
    if isinstance(raw, Feedback):
        return RECORD_BYTES + (len(raw.value) if isinstance(raw.value, str) else 0)
    weight = RECORD_BYTES + len(raw.body)
    for attempt in attempts_of(raw):
        weight += sum(map(len, attempt.chunks))
    return weight
