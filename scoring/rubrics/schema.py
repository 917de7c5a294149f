"""What a rubric may say. Owns the schema and its bounds; knows nothing of answers, judges or files.

A rubric has criteria whose weights sum to 1, and says what its slices risk. Each criterion is scored per arm in [0, 1] by a
check (deterministic) or by the judge, and declares its `reference`: `none` (the answer alone), `label` (a right answer from
a reference file) or `teacher` (agreement with the teacher; such criteria have a number of their own and never enter d).

    d = sum of weight x (score(student) - score(teacher)) over `none` and `label` criteria, in [-1, 1]
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

REST = "rest"
"""In `risk`: every value of a slice that is not named."""


class RubricSection(BaseModel):
    """Base: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckSpec(RubricSection):
    """Which check and its options; each check validates its own."""

    kind: str
    options: dict[str, Any] = {}


class Anchor(RubricSection):
    """What one score means. `example` is an answer that deserves it."""

    means: str = Field(min_length=1, max_length=2000)
    example: str | None = Field(None, min_length=1, max_length=4000)


def _as_anchor(value: Any) -> Any:
    return {"means": value} if isinstance(value, str) else value


class JudgeSpec(RubricSection):
    """What the judge is asked about one criterion. `scale` is its highest whole number: scores are 0..scale."""

    question: str = Field(min_length=1, max_length=4000)
    scale: int = Field(4, ge=1, le=10)
    anchors: dict[int, Annotated[Anchor, BeforeValidator(_as_anchor)]] = {}

    @model_validator(mode="after")
    def _on_the_scale(self) -> "JudgeSpec":
        outside = [score for score in self.anchors if not 0 <= score <= self.scale]
        if outside:
            raise ValueError(f"anchor {outside[0]} is not on the scale 0..{self.scale}")
        return self


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
    """A rubric version. `labels` (right answers) and `anchor_set` (labelled pairs) are JSONL files, relative to its folder.

    `judging` is how the judge answers: scores of both answers, or which of them is better. `risk` weighs the values of
    slices against each other: {slice: {value: weight}}, `rest` for values that are not named.
    """

    name: str
    version: int = Field(ge=1)
    criteria: tuple[Criterion, ...] = Field(min_length=1, max_length=32)
    judging: Literal["pointwise", "pairwise"] = "pointwise"
    labels: str | None = None
    anchor_set: str | None = None
    risk: dict[str, dict[str, Annotated[float, Field(gt=0, le=1000)]]] = Field({}, max_length=8)

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def needs_judge(self) -> bool:
        return any(criterion.judge is not None for criterion in self.criteria)

    def risk_milli(self, slices: Mapping[str, str]) -> int:
        """What a pair of these slices weighs, in thousandths of what the riskiest could; 1000 where nothing is named."""
        weight = largest = 1.0
        for name, weights in self.risk.items():
            rest = weights.get(REST, 1.0)
            weight *= weights.get(slices.get(name, REST), rest)
            largest *= max(rest, *weights.values())
        return max(1, math.floor(1000 * weight / largest))

    @model_validator(mode="after")
    def _only_compared(self) -> "Rubric":
        judged = [criterion for criterion in self.criteria if criterion.judge is not None]
        if self.judging == "pairwise":
            scored = [c.name for c in judged if c.judge is not None and c.judge.model_fields_set & {"scale", "anchors"}]
            if not judged or scored:
                what = f"criterion {scored[0]!r} has a scale or anchors" if scored else "no criterion has a judge"
                raise ValueError(f"judging: pairwise asks which answer is better, but {what}")
        if self.anchor_set is not None and not judged:
            raise ValueError("an anchor_set watches the judge, but no criterion has one")
        return self

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
