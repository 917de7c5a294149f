"""What only the shell knows: the health of what feeds the gate. Nothing here is evidence; all of it can hold.

To add a fact: a field with the harmless value as its default, and its line in `scoring.gates.holds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.types import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """State of the machinery at the time of a look.

    `teacher_open`   the teacher's breaker is open: a failing student is held, never rolled back onto a dead arm.
    `judge_late_s`   how far the oldest pair that waits for a score is over its deadline; 0 when none is.
    `judge_drift`, `capture_lossy`, `sample_ratio`   the alarm in words where the shell raised one, else None.
    `uncounted`      older units than those counted wait to be folded: what was counted may be what was quick to be judged.
    `missing`        pairs of this epoch that never became units although they were sampled, by direction and class.
    """

    teacher_open: bool = False
    judge_late_s: float = 0.0
    judge_drift: str | None = None
    capture_lossy: str | None = None
    sample_ratio: str | None = None
    uncounted: bool = False
    missing: Mapping[Direction, Mapping[str, int]] = field(default_factory=dict)


ALL_WELL = Facts()
