"""`length`: the answer is neither too short nor too long."""

from typing import Literal

from pydantic import Field, model_validator

from scoring.checks.base import CheckOptions, passed, text_of
from tutelage.contracts.records import Answer


class LengthOptions(CheckOptions):
    """`unit`: what is counted. `minimum` and `maximum`: bounds, both included; without `maximum` there is none."""

    unit: Literal["characters", "words"] = "characters"
    minimum: int = Field(0, ge=0)
    maximum: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> "LengthOptions":
        if self.maximum is None and self.minimum == 0:
            raise ValueError("give minimum or maximum, or both")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"maximum {self.maximum} is below minimum {self.minimum}")
        return self


class LengthCheck:
    """1 where the answer's length is within the bounds. No answer fails, whatever the bounds."""

    def __init__(self, options: LengthOptions) -> None:
        self._options = options

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        if answer is None:
            return 0.0
        text = text_of(answer)
        length = len(text) if self._options.unit == "characters" else len(text.split())
        maximum = self._options.maximum
        return passed(length >= self._options.minimum and (maximum is None or length <= maximum))
