"""The retry budget of one upstream: how many of its calls may be made a second time.

Every planned call earns a fifth of a retry; where calls are rare, the time since the last one earns instead: the larger of 20 %
of the calls and 3 a second, and never more than 3 saved up. So retries cannot multiply the load on an upstream that is
already failing. Time is an argument, seconds of any monotonic clock. Must not know which faults deserve a retry.
"""

RETRIES_PER_CALL = 0.2
RETRIES_PER_S = 3.0
SAVED = 3.0


class RetryBudget:
    """One upstream's budget. Not for threads."""

    __slots__ = ("_earned_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = SAVED
        self._earned_at = now

    def earn(self, now: float) -> None:
        """A call is planned, which is no retry itself."""
        if self._left < SAVED:
            earned = max(RETRIES_PER_CALL, (now - self._earned_at) * RETRIES_PER_S)
            self._left = min(SAVED, self._left + earned)
        self._earned_at = now

    def spend(self) -> bool:
        """Take one retry; False where none is left."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
