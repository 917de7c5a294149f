"""Has the judge changed under its name? What it makes of labelled pairs today against what it made of them first.

Owns one two-sided detector per route, over the readings of the judge and rubric of the route's epoch, and the alarm. A part
has the judge of its route, and so its readings. Must not know how anchors are read. Kept in memory: the readings are in the
store, and whoever begins anew reads them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scoring.stats.bets import FloatArray
from scoring.stats.shiryaev_roberts import drift_statistic, drift_step, fresh_drift
from tutelage.contracts.decisions import Epoch
from tutelage.contracts.pairs import AnchorReading
from tutelage.contracts.parts import whole_of
from tutelage.contracts.signals import Watch
from tutelage.contracts.snapshot import Snapshot
from tutelage.store.base import Lease, Store

EVERY_S = 60.0
READINGS_AT_ONCE = 500
TOLERANCE = 0.025
"""Half of a difference of d: less than .05 of the scale is no drift."""
A_DRIFT = 1_000.0
"""On average so many readings pass before a false alarm."""


@dataclass(slots=True)
class _Watch:
    """The detector of one epoch. `position` is the last reading's number in the store."""

    epoch: str
    position: int = 0
    readings: int = 0
    state: FloatArray = field(default_factory=fresh_drift)

    def saw(self, reading: AnchorReading, epoch: Epoch) -> None:
        judged_by = (reading.rubric, f"{reading.judge}@{reading.judge_version}")
        if reading.drift is not None and judged_by == (epoch.rubric, epoch.judge):
            self.state = drift_step(self.state, reading.drift, tolerance=TOLERANCE)
            self.readings += 1

    @property
    def watch(self) -> Watch:
        value = drift_statistic(self.state, tolerance=TOLERANCE)
        told = f"{value:,.0f} of {A_DRIFT:,.0f} over {self.readings} readings of labelled pairs"
        return Watch(
            words=f"the judge {'has drifted' if value >= A_DRIFT else 'reads as at first'}: {told}",
            alarm=value >= A_DRIFT,
        )


class JudgeDrift:
    """A chore, and what `health` asks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watches: dict[str, _Watch] = {}
        self._due_at = 0.0

    def do(self, snapshot: Snapshot, lease: Lease, now: float) -> None:
        if now < self._due_at:
            return
        self._due_at = now + EVERY_S
        self._read(snapshot.epochs)

    def watch(self, route: str) -> Watch | None:
        """What there is to say of the judge of `route`; None before its labelled pairs were read twice."""
        watch = self._watches.get(route)
        return None if watch is None or not watch.readings else watch.watch

    def _read(self, epochs: Mapping[str, Epoch]) -> None:
        for route, epoch in epochs.items():
            if epoch.judge is None:
                continue
            watch = self._watches.get(route)
            if watch is None or watch.epoch != epoch.id:
                watch = self._watches[route] = _Watch(epoch=epoch.id)
            while found := self._store.readings(whole_of(route), watch.position, READINGS_AT_ONCE):
                for number, reading in found:
                    watch.saw(reading, epoch)
                    watch.position = number
