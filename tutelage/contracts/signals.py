"""What control sees of the machinery around a route: published with its ticks, for everybody who explains.

Records know nothing of who writes them. An alarm holds nothing by itself: `scoring.gates.holds` does.
"""

from router.types import Direction
from tutelage.contracts.records import Record


class Watch(Record, frozen=True, kw_only=True):
    """One thing that is watched: what it reads now, in words and numbers, and whether that is an alarm."""

    words: str
    alarm: bool = False


class Signals(Record, frozen=True, kw_only=True):
    """What is known of one route, `at` UTC seconds. A watch that has nothing to read yet is None.

    `teacher` is its breaker, `judge` what it makes of labelled pairs against what it made of them first, `order` whether it
    minds the order, `capture` what gateways lost, `split` users per arm against the plan. `overdue` counts, by direction,
    exchanges whose other half has been waited for too long.
    """

    at: float
    teacher: Watch | None = None
    judge: Watch | None = None
    order: Watch | None = None
    capture: Watch | None = None
    split: Watch | None = None
    overdue: dict[Direction, int] = {}

    @property
    def watches(self) -> dict[str, Watch]:
        """Those that read something, by name."""
        named = {
            "teacher": self.teacher, "judge": self.judge, "order": self.order, "capture": self.capture, "split": self.split,
        }  # fmt: skip
        return {name: watch for name, watch in named.items() if watch is not None}

    def alarm(self, name: str) -> str | None:
        """The words of an alarm; None where all is well."""
        watch = self.watches.get(name)
        return watch.words if watch is not None and watch.alarm else None

    @property
    def alarms(self) -> dict[str, str]:
        return {name: watch.words for name, watch in self.watches.items() if watch.alarm}
