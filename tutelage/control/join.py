"""The join: an exchange and the shadow attempts that belong to it wait for each other, then come to a conclusion.

`Joiner` is pure: records in, `Joined` out; it keeps halves in memory and says which of them must be kept in the store.
What a whole exchange comes to is `tutelage.control.conclude`; who reads and commits is `tutelage.control.tail`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import Exchange, Feedback, ShadowAttempt, Spooled, encode
from tutelage.control.conclude import (
    EXCHANGE_LOST,
    Conclusions,
    JoinRoute,
    conclusions,
    expected_shadows,
    orphan_direction,
)
from tutelage.store.base import Exclusion, Joined

_SETTLED_KEPT = 20_000


@dataclass(slots=True)
class Halves:
    """Records that wait for their other half, by exchange id. `kept` are record ids that the store holds too."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    shadows: dict[str, list[ShadowAttempt]] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    settled: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def take(self, record: Spooled, now: float) -> str | None:
        """Keep a record that belongs to a sampled exchange; its exchange id, None where nobody waits for it."""
        if isinstance(record, Feedback):
            return None
        if isinstance(record, Exchange):
            if record.plan.shadow is None or record.id in self.settled:
                return None
            self.exchanges[record.id] = record
            name = record.id
        else:
            if record.exchange_id in self.settled:
                return None
            held = self.shadows.setdefault(record.exchange_id, [])
            if all(other.id != record.id for other in held):
                held.append(record)
            name = record.exchange_id
        self.arrived.setdefault(name, now)
        return name

    def records(self, exchange_id: str) -> list[Exchange | ShadowAttempt]:
        """What is held of one exchange."""
        exchange = self.exchanges.get(exchange_id)
        return [*([] if exchange is None else [exchange]), *self.shadows.get(exchange_id, ())]

    def drop(self, exchange_id: str) -> list[str]:
        """Forget one exchange; the record ids that the store may forget too."""
        used = [record.id for record in self.records(exchange_id) if record.id in self.kept]
        self.kept.difference_update(used)
        self.exchanges.pop(exchange_id, None)
        self.shadows.pop(exchange_id, None)
        self.arrived.pop(exchange_id, None)
        self.settled[exchange_id] = None
        if len(self.settled) > _SETTLED_KEPT:
            self.settled.popitem(last=False)
        return used


class Joiner:
    """Joins one batch after the other. `paired` tells whether a pair of that id exists already."""

    def __init__(self, halves: Halves, paired: Callable[[str], bool]) -> None:
        self.halves = halves
        self._paired = paired

    def join(self, records: Iterable[Spooled], routes: Mapping[str, JoinRoute], now: float) -> Joined:
        """What the batch came to, with the halves before it: every exchange all of whose records are there."""
        touched = list(dict.fromkeys(name for record in records if (name := self.halves.take(record, now)) is not None))
        concluded = [(name, self._complete(name, routes)) for name in touched]
        joined = self._settle([(name, come_to) for name, come_to in concluded if come_to])
        return replace(joined, waiting=self._newly_waiting(touched))

    def expire(self, routes: Mapping[str, JoinRoute], now: float) -> Joined:
        """What the halves came to whose other half is overdue. Call it only where every spool has been read to its
        end.
        """
        overdue = [name for name in self.halves.arrived if now >= self._deadline(name, routes)]
        return self._settle([(name, self._overdue(name, routes)) for name in overdue])

    def _settle(self, concluded: list[tuple[str, Conclusions]]) -> Joined:
        done = [record for name, _ in concluded for record in self.halves.drop(name)]
        come_to = [conclusion for _, conclusions in concluded for conclusion in conclusions]
        return Joined(
            pairs=[pair for pair in come_to if isinstance(pair, Pair)],
            excluded=[exclusion for exclusion in come_to if isinstance(exclusion, Exclusion)],
            done=done,
        )

    def _complete(self, name: str, routes: Mapping[str, JoinRoute]) -> Conclusions:
        """What a whole exchange comes to; nothing while a half is waited for."""
        exchange = self.halves.exchanges.get(name)
        shadows = self.halves.shadows.get(name, [])
        if exchange is None or len(shadows) < expected_shadows(exchange):
            return ()
        return conclusions(exchange, shadows, routes.get(exchange.route))

    def _overdue(self, name: str, routes: Mapping[str, JoinRoute]) -> Conclusions:
        exchange = self.halves.exchanges.get(name)
        shadows = self.halves.shadows.get(name, [])
        route = routes.get(exchange.route if exchange is not None else shadows[0].route)
        return self._orphan(name, shadows[0], route) if exchange is None else conclusions(exchange, shadows, route)

    def _orphan(self, name: str, shadow: ShadowAttempt, route: JoinRoute | None) -> Conclusions:
        """Shadow attempts without their exchange: the spool lost it, or the pair was made before they came."""
        if self._paired(name):
            return ()
        epoch, revision = ("", 0) if route is None else (route.epoch.id, route.rollout.revision)
        lost = Exclusion(
            id=name,
            route=shadow.route,
            epoch=epoch,
            reason=EXCHANGE_LOST,
            at=shadow.ended_at,
            revision=revision,
            direction=None if route is None else orphan_direction(shadow),
        )
        return (lost,)

    def _deadline(self, name: str, routes: Mapping[str, JoinRoute]) -> float:
        """Until when the other half may come: from the end of serving, or from the shadow's own end."""
        exchange = self.halves.exchanges.get(name)
        if exchange is None:
            shadow = self.halves.shadows[name][0]
            ended, route = shadow.ended_at, routes.get(shadow.route)
        else:
            ended, route = exchange.admitted_at + exchange.ended_ms / 1000, routes.get(exchange.route)
        return ended + (0.0 if route is None else route.patience_s)

    def _newly_waiting(self, touched: list[str]) -> dict[tuple[str, str], bytes]:
        waiting: dict[tuple[str, str], bytes] = {}
        for name in touched:
            for record in self.halves.records(name):
                if record.id not in self.halves.kept:
                    waiting[record.id, name] = encode(record)
                    self.halves.kept.add(record.id)
        return waiting
