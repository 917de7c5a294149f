"""What happened in one simulated rollout, as the report reads it.

Owns   `Story` and how an event is entered. Knows not  statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from router.events import Advance, Event, Hold, RollBack, StepDown
from router.rollout import Rollout


@dataclass(slots=True, kw_only=True)
class Story:
    """Requests over when each rung was first reached, and at every step-down, hold and roll-back.

    `forward_at` counts the forward pairs among them; the others were reverse.
    """

    rollout: Rollout
    reached: dict[int, int] = field(default_factory=dict)
    forward_at: dict[int, int] = field(default_factory=dict)
    step_downs: list[int] = field(default_factory=list)
    holds: list[tuple[int, str]] = field(default_factory=list)
    rolled_back_at: int | None = None
    max_bp: int = 0

    @property
    def frozen(self) -> bool:
        """Whether a hold stands at the end, or the run was rolled back."""
        return bool(self.rollout.holds) or self.rolled_back_at is not None

    def enter(self, event: Event, after: Rollout, at: int, forward: int) -> None:
        """`event` led to `after` once `at` requests were over, `forward` of them forward pairs."""
        self.rollout = after
        if isinstance(event, Advance):
            self.reached.setdefault(after.rung, at)
            self.forward_at.setdefault(after.rung, forward)
            self.max_bp = max(self.max_bp, after.share_bp)
        elif isinstance(event, StepDown):
            self.step_downs.append(at)
        elif isinstance(event, Hold):
            self.holds.append((at, event.hold))
        elif isinstance(event, RollBack):
            self.rolled_back_at = at
