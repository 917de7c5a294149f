"""Pairs as control queues them, for tests of what scores them."""

from typing import Any

import msgspec

from router.types import Arm, Direction
from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import Answer, Attempt, CapturePolicy

ROUTE = "sections"


def attempt(arm: Arm, text: str | None = "net", **changes: Any) -> Attempt:
    given = Attempt(
        arm=arm,
        upstream=f"the-{arm.value}",
        version="v1",
        purpose="serve" if arm is Arm.TEACHER else "shadow",
        started=1_000.0,
        total_ms=5.0,
        status=200,
        answer=Answer(text=text, finish_reason="stop"),
    )
    return msgspec.structs.replace(given, **changes)


def pair(number: int = 0, teacher: Any = "net", student: Any = "net", **changes: Any) -> Pair:
    """A forward pair. `teacher` and `student` are answers' texts, attempts, or None where there is no attempt."""
    given = Pair(
        id=f"pair-{number:06}",
        route=ROUTE,
        epoch="epoch-1",
        attempt_number=1,
        revision=1,
        direction=Direction.FORWARD,
        admitted_at=1_000.0 + number,
        sticky_key=f"key-{number}",
        unit_id=f"unit-{number}",
        endpoint="chat.completions",
        request={"messages": [{"role": "user", "content": f"input {number}"}]},
        input_hash=f"{number:064x}",
        teacher=attempt(Arm.TEACHER, teacher) if isinstance(teacher, str) else teacher,
        student=attempt(Arm.STUDENT, student) if isinstance(student, str) else student,
        policy=CapturePolicy(log="full", train=True, purpose="test"),
        shadow_bp=10_000,
        floor_bp=10_000,
        policy_version=1,
    )
    return msgspec.structs.replace(given, **changes)


def failed(arm: Arm, **changes: Any) -> Attempt:
    given = attempt(arm, status=500, error="status_500", answer=None)
    return msgspec.structs.replace(given, **changes)
