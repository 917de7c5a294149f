"""Which faults the same arm may be asked again for, and after how long. Pure.

    no connection · the connection ended before a head   again, after a short wait
    502 503 529                                          again, when Retry-After says so, else after a short wait
    429                                                  again, only where Retry-After is short
    everything else                                      never: it would fail again, or has cost too much time already

Whether the budget has a retry left is `router.budget`; that it happens before the first byte is the dispatcher's order of things.
"""

from collections.abc import Mapping

from gateway.upstreams.base import ConnectFailed, Headers, ReplyBroken
from gateway.wire import header
from tutelage.capture.raw import RawAttempt

WAIT_S = 0.05
"""A retry waits between one and two of these."""
MAX_WAIT_S = 1.0
"""A longer Retry-After is somebody else's to wait for: the other arm's, or the client's."""

_AGAIN: Mapping[int, bool] = {502: True, 503: True, 529: True, 429: False}
"""Statuses that a retry can cure, and whether also without a Retry-After."""


def wait_before_retry(attempt: RawAttempt, draw: float) -> float | None:
    """Seconds until the arm may be asked again, or None: never. `draw` is uniform in [0, 1)."""
    soon_s = WAIT_S * (1 + draw)
    if attempt.status is None:
        return soon_s if attempt.error in (ConnectFailed.kind, ReplyBroken.kind) else None
    unasked = _AGAIN.get(attempt.status)
    if unasked is None:
        return None
    told_s = _told(attempt.headers)
    if told_s is None:
        return soon_s if unasked else None
    return max(told_s, soon_s) if told_s <= MAX_WAIT_S else None


def _told(headers: Headers) -> float | None:
    """What the answer says to wait. A date, or what cannot be read, is as long as can be."""
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        value = header(headers, name)
        if value is not None:
            return float(value) * unit_s if value.isdigit() else float("inf")
    return None
