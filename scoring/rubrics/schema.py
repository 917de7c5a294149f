"""What a rubric may say. Owns the schema and its bounds; knows nothing of answers, judges or files.

A rubric has criteria whose weights sum to 1. Each criterion is scored per arm in [0, 1] by a check (deterministic) or by the
judge, and declares its `reference`: `none` (the answer alone), `label` (a right answer from a reference file) or `teacher`
(agreement with the teacher; such criteria form a disagreement cell of their own and never enter d).

    d = sum of weight x (score(student) - score(teacher)) over `none` and `label` criteria, in [-1, 1]
"""

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RubricSection(BaseModel):
    """Base: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckSpec(RubricSection):
    """Which check and its options; each check validates its own."""

    kind: str
    options: dict[str, Any] = {}


class JudgeSpec(RubricSection):
    """What the judge is asked about one criterion. `scale` is its highest whole number: scores are 0..scale."""

    question: str = Field(min_length=1, max_length=4000)
    scale: int = Field(4, ge=1, le=10)
    anchors: dict[int, str] = {}


class Criterion(RubricSection):
    """One weighted criterion: exactly one of `check` and `judge`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    weight: float = Field(gt=0, le=1)
    reference: Literal["none", "label", "teacher"] = "none"
    check: CheckSpec | None = None
    judge: JudgeSpec | None = None

    @model_validator(mode="after")
    def _one_method(self) -> "Criterion":
        if (self.check is None) == (self.judge is None):
            raise ValueError(f"criterion {self.name!r} needs exactly one of check and judge")
        return self


class Rubric(RubricSection):
    """A rubric version. `labels` is the reference file (JSONL), relative to the rubric's folder."""

    name: str
    version: int = Field(ge=1)
    criteria: tuple[Criterion, ...] = Field(min_length=1, max_length=32)
    labels: str | None = None

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def needs_judge(self) -> bool:
        return any(criterion.judge is not None for criterion in self.criteria)

    @model_validator(mode="after")
    def _weighted(self) -> "Rubric":
        names = [criterion.name for criterion in self.criteria]
        if len(set(names)) < len(names):
            raise ValueError(f"two criteria share a name: {sorted(names)}")
        total = math.fsum(criterion.weight for criterion in self.criteria if criterion.reference != "teacher")
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(
                f"the weights of criteria with reference none or label sum to {total:g}; they must sum to 1"
            )
        if self.labels is None and any(criterion.reference == "label" for criterion in self.criteria):
            raise ValueError("a criterion with reference: label needs `labels: FILE.jsonl`")
        return self
