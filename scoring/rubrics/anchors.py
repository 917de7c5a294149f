"""Read an anchor set: labelled pairs that watch the judge. JSONL, one pair a line.

    {"id": "refund-1", "request": "Where is my money?", "teacher": "On its way.", "student": "Gone.", "d": -0.75}

`request` is the user's message, or the whole request as JSON; `d` what people say of student against teacher, in [-1, 1],
where they said anything; `reference` the right answer, for criteria that read one. Every line is checked.
"""

from pathlib import Path
from typing import Any

import msgspec

from router.types import Arm, Direction
from scoring.rubrics.schema import Rubric
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import Answer, Attempt, CapturePolicy, Json

MAX_ANCHORS = 1_000


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the file."""

    id: str
    request: Json
    teacher: str
    student: str
    d: float | None = None
    reference: str | None = None

    def pair(self, route: str) -> Pair:
        """The anchor as a pair that nobody served."""
        asked = {"messages": [{"role": "user", "content": self.request}]}
        return Pair(
            id=f"anchor/{self.id}",
            route=route,
            epoch="",
            attempt_number=1,
            revision=0,
            direction=Direction.FORWARD,
            admitted_at=0.0,
            sticky_key=self.id,
            unit_id=self.id,
            endpoint="chat.completions",
            request=asked if isinstance(self.request, str) else self.request,
            input_hash=self.id,
            teacher=_said(Arm.TEACHER, self.teacher),
            student=_said(Arm.STUDENT, self.student),
            policy=CapturePolicy(log="full", train=False, purpose="anchor"),
            shadow_bp=0,
            floor_bp=0,
            policy_version=0,
        )


def anchors_of(folder: str | Path, rubric: Rubric) -> tuple[Anchor, ...]:
    """The rubric's anchors, none where it names none. Raises ConfigurationError naming the file, the line and the fix."""
    if rubric.anchor_set is None:
        return ()
    path = Path(folder) / rubric.anchor_set
    decoder = msgspec.json.Decoder(Anchor)
    anchors: dict[str, Anchor] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as fault:
        raise ConfigurationError(f"cannot read anchor set {path}: {fault.strerror}") from fault
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            _enter(anchors, decoder.decode(line), rubric)
        except (msgspec.DecodeError, ValueError) as fault:
            raise ConfigurationError(f"anchor set {path}, line {number}: {fault}") from None
    if not 0 < len(anchors) <= MAX_ANCHORS:
        raise ConfigurationError(f"anchor set {path} has {len(anchors)} pairs; give 1 to {MAX_ANCHORS}")
    return tuple(anchors.values())


def _enter(anchors: dict[str, Anchor], anchor: Anchor, rubric: Rubric) -> None:
    if not 0 < len(anchor.id) <= 100 or anchor.id in anchors:
        raise ValueError(f"id {anchor.id[:80]!r} must have 1 to 100 characters and be the only one of its name")
    if anchor.d is not None and not -1 <= anchor.d <= 1:
        raise ValueError(f"d of {anchor.id!r} is {anchor.d}; it is student minus teacher, from -1 to 1")
    if not isinstance(anchor.request, str | dict):
        raise ValueError(f"request of {anchor.id!r} must be a text or an object")  # noqa: TRY004 - a fault of the file
    if anchor.teacher.strip() == anchor.student.strip():
        raise ValueError(f"both answers of {anchor.id!r} are the same: the judge would not be asked")
    if anchor.reference is None and any(criterion.reference == "label" for criterion in rubric.criteria):
        raise ValueError(f"{anchor.id!r} needs a reference: the rubric has label criteria")
    anchors[anchor.id] = anchor


def _said(arm: Arm, text: str) -> Attempt:
    answer = Answer(text=text, finish_reason="stop")
    nobody: dict[str, Any] = {"upstream": "", "version": "", "purpose": "anchor", "started": 0.0, "total_ms": 0.0}
    return Attempt(arm=arm, status=200, answer=answer, **nobody)
