"""Lanes: each upstream with its breaker, retry budget and calls under way; kept over snapshots, rebuilt when its settings change.

A lane that left the configuration goes on for the requests that were planned with it; what connections it keeps end by
themselves when nobody uses them. Must not know of routes or of what calls ask.
"""

from collections.abc import Callable, Mapping

import structlog

from gateway.upstreams.base import Upstream
from gateway.wording import Wording
from router.breaker import UNASKED, Breaker, BreakerPolicy, BreakerState, Permit
from router.budget import RetryBudget
from router.types import Outcome
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.upstreams import UpstreamSettings

log = structlog.get_logger()

Build = Callable[[str, UpstreamSettings], Upstream]


class Lane:
    """One upstream as the dispatcher uses it. `now` is seconds of the one monotonic clock."""

    def __init__(self, upstream: Upstream, settings: UpstreamSettings, now: float) -> None:
        self.upstream = upstream
        self.settings = settings
        self.name = upstream.name
        self.wording = Wording(upstream.hidden)
        self.calls = 0
        self._breaker = Breaker(BreakerPolicy())
        self._budget = RetryBudget(now)

    def available(self, now: float) -> bool:
        """Whether its breaker would let a call through."""
        return self._breaker.available(now)

    @property
    def state(self) -> BreakerState:
        return self._breaker.state

    def planned(self, now: float) -> None:
        """A request means to call this upstream for the first time: that earns its part of a retry."""
        self._budget.earn(now)

    def may_retry(self) -> bool:
        """Take a retry from the budget; False where none is left."""
        return self._budget.spend()

    def admit(self, now: float) -> Permit | None:
        """A call under the breaker, None while it is open."""
        permit = self._breaker.acquire(now)
        if permit is not None:
            self.calls += 1
        return permit

    def call(self, now: float) -> Permit:
        """A call that is made whatever the breaker says: nobody else may answer, and the client gets the true error."""
        self.calls += 1
        return self._breaker.acquire(now) or UNASKED

    def settle(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """What the call came to. Once for each permit."""
        self.calls -= 1
        if self._breaker.settle(permit, outcome, now):
            log.warning("breaker", upstream=self.name, state=str(self._breaker.state))


class Lanes:
    """The lanes by upstream name. For one event loop."""

    def __init__(self, build: Build, monotonic: Callable[[], float]) -> None:
        self._build = build
        self._monotonic = monotonic
        self._lanes: dict[str, Lane] = {}
        self._retired: dict[str, Lane] = {}

    def __getitem__(self, name: str) -> Lane:
        """The lane of that name; for requests that began under an older snapshot, the last one there was."""
        return self._lanes.get(name) or self._retired[name]

    def all(self) -> tuple[Lane, ...]:
        return tuple(self._lanes.values())

    def update(self, wanted: Mapping[str, UpstreamSettings]) -> None:
        """Bring the lanes to `wanted`. Raises ConfigurationError, and changes nothing, where an upstream cannot be built."""
        fresh = {name: settings for name, settings in wanted.items() if not self._serves(name, settings)}
        built = {name: self._lane(name, settings) for name, settings in fresh.items()}
        kept = {name: self._lanes[name] for name in wanted if name not in built}
        old = [lane for name, lane in self._lanes.items() if name not in kept]
        self._lanes = {name: kept[name] if name in kept else built[name] for name in wanted}
        for lane in old:
            self._retired[lane.name] = lane

    async def aclose(self) -> None:
        for lane in (*self._lanes.values(), *self._retired.values()):
            await lane.upstream.aclose()

    def _serves(self, name: str, settings: UpstreamSettings) -> bool:
        return name in self._lanes and self._lanes[name].settings == settings

    def _lane(self, name: str, settings: UpstreamSettings) -> Lane:
        try:
            upstream = self._build(name, settings)
        except ConfigurationError as fault:
            raise ConfigurationError(f"upstreams.{name}: {fault}") from fault
        return Lane(upstream, settings, self._monotonic())
