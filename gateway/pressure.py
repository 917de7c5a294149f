"""Pressure: how much work waits for the event loop, and what is turned away because of it.

    Pressure    the decisions [pure]: whether to shed what is optional, and how many new requests a second to let in
    Pulse       feels the loop: a timer that notes how late it comes

A timer that comes late by 30 ms has found 30 ms of work before it: that is what a new request would wait as well. Only the
part of it counts in which this process was at work; waiting for a processor that others use is no reason to do less. One late
beat is a pause; from the second on the optional is shed (shadow calls, judges). When it lasts, new requests are let in at a
rate: less while the beat is late, a little more while it is not, so that it settles where the work fits. Once nobody had to
be turned away for a while, the rate is forgotten.
"""

import asyncio
import time
from math import inf
from typing import Protocol

BEAT_S = 0.05
LATE_S = 0.03
SHED_BEATS = 2
RATE_AFTER_S = 0.4
"""So late the beats must have been together, without one on time between them: a burst of long answers passes by itself."""
CALM_BEATS = 20
"""On-time beats after which the optional comes back, and as many without a refusal after which the rate is forgotten."""
LESS, MORE = 0.9, 1.01
"""Per beat; less from half of LATE_S on, so that those who are turned away learn it soon. What was let in comes back as work
when its upstream answers: the rate must not run ahead of that."""
MIN_RATE = 20.0
"""New requests per second that are let in however late the beat."""


class Pressure:
    """One process. `beat` and `admit` are called on its event loop."""

    __slots__ = ("_admitted", "_calm", "_late", "_late_sum_s", "_left", "_rate", "_recent", "late_s")

    def __init__(self) -> None:
        self.late_s = 0.0
        self._late = 0
        self._late_sum_s = 0.0
        self._calm = CALM_BEATS
        self._rate = inf
        self._left = inf
        self._admitted = 0
        self._recent = 0.0

    @property
    def shedding(self) -> bool:
        """Whether the optional is turned away."""
        return self._late >= SHED_BEATS or self._calm < CALM_BEATS

    @property
    def rate(self) -> float:
        """New requests per second that are let in; infinite while there is no need."""
        return self._rate

    def admit(self) -> bool:
        """Whether one more request fits into this beat."""
        if self._left < 1.0:
            self._calm = 0
            return False
        self._left -= 1.0
        self._admitted += 1
        return True

    def beat(self, late_s: float, took_s: float) -> None:
        """A beat came `late_s` late, `took_s` after the last one."""
        self.late_s = late_s
        admitted_per_s = self._admitted / took_s
        self._admitted = 0
        self._recent += 0.3 * (admitted_per_s - self._recent)
        if late_s >= LATE_S:
            self._late += 1
            self._late_sum_s += late_s
            if self._late >= SHED_BEATS:
                self._calm = 0
        else:
            self._late, self._late_sum_s = 0, 0.0
            self._calm += 1
        self._set_rate()
        self._left = self._rate * BEAT_S

    def _set_rate(self) -> None:
        if self._rate == inf:
            if self._late > SHED_BEATS and self._late_sum_s >= RATE_AFTER_S:
                self._rate = max(MIN_RATE, self._recent)
        elif self._calm >= CALM_BEATS:
            self._rate = inf
        else:
            self._rate = max(MIN_RATE, self._rate * (LESS if self.late_s >= LATE_S / 2 else MORE))


class Beating(Protocol):
    """What calls `beat`, until it is stopped."""

    def stop(self) -> None: ...


class Pulse:
    """Beats on the running loop until stopped."""

    def __init__(self, pressure: Pressure) -> None:
        self._pressure = pressure
        self._loop = asyncio.get_running_loop()
        self._wall_s, self._work_s = self._loop.time(), time.process_time()
        self._timer = self._loop.call_later(BEAT_S, self._beat)

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        wall_s, work_s = self._loop.time(), time.process_time()
        took_s = max(wall_s - self._wall_s, BEAT_S)
        at_work = min(1.0, (work_s - self._work_s) / took_s)
        self._pressure.beat((took_s - BEAT_S) * at_work, took_s)
        self._wall_s, self._work_s = wall_s, work_s
        self._timer = self._loop.call_later(BEAT_S, self._beat)
