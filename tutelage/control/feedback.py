"""Feedback to its exchange: attached where the exchange is its tenant's, else dropped and counted.

A person may answer before the exchange is durable, and through another gateway process. So each one is looked for when it comes
and, if nobody has heard of its exchange, once more `WAIT_S` later. What waits is kept in the store with the halves of the join.

Pure but for `find`, which looks an exchange up by its id. Must not know spools or what becomes of a correction.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tutelage.contracts.records import Exchange, Feedback, Spooled, encode
from tutelage.store.base import Attached

WAIT_S = 60.0
MAX_WAITING = 10_000
UNKNOWN_EXCHANGE = "unknown_exchange"
OTHER_TENANT = "other_tenant"


@dataclass(slots=True, kw_only=True)
class Said:
    """What a batch of feedback came to. `dropped` are reasons; `waiting` and `done` as in `Joined`."""

    attached: list[Attached] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    waiting: dict[tuple[str, str], bytes] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)


class Attacher:
    """Feedback that waits for its exchange, by its own id."""

    def __init__(self, find: Callable[[str], Exchange | None]) -> None:
        self._find = find
        self._waiting: dict[str, Feedback] = {}

    def recall(self, feedback: Feedback) -> None:
        """What the store holds already."""
        self._waiting[feedback.id] = feedback

    def take(self, records: Iterable[Spooled]) -> Said:
        """The feedback among `records`: attached, dropped, or waiting from now on."""
        said = Said()
        for record in records:
            if not isinstance(record, Feedback) or record.id in self._waiting or self._settled(record, said):
                continue
            if len(self._waiting) >= MAX_WAITING:
                said.dropped.append(UNKNOWN_EXCHANGE)
                continue
            self._waiting[record.id] = record
            said.waiting[record.id, record.exchange_id] = encode(record)
        return said

    def expire(self, now: float) -> Said:
        """What has waited long enough. Call it only where every spool has been read to its end."""
        said = Said()
        for record in [record for record in self._waiting.values() if now >= record.at + WAIT_S]:
            del self._waiting[record.id]
            said.done.append(record.id)
            if not self._settled(record, said):
                said.dropped.append(UNKNOWN_EXCHANGE)
        return said

    def _settled(self, feedback: Feedback, said: Said) -> bool:
        exchange = self._find(feedback.exchange_id)
        if exchange is None:
            return False
        if exchange.tenant == feedback.tenant:
            said.attached.append(Attached(feedback=feedback, route=exchange.route, input_hash=exchange.input_hash))
        else:
            said.dropped.append(OTHER_TENANT)
        return True
