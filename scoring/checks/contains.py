"""`contains`: what the answer must say and must not say."""

from pydantic import Field, model_validator

from scoring.checks.base import CheckOptions, folded, passed, text_of
from tutelage.contracts.records import Answer


class ContainsOptions(CheckOptions):
    """`required`: all of these must occur. `forbidden`: none of these may. `case_sensitive`: whether case counts."""

    required: tuple[str, ...] = Field((), max_length=64)
    forbidden: tuple[str, ...] = Field((), max_length=64)
    case_sensitive: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> "ContainsOptions":
        if not self.required and not self.forbidden:
            raise ValueError("give required or forbidden, or both")
        if any(not part.strip() for part in (*self.required, *self.forbidden)):
            raise ValueError("a blank text is in every answer; remove it")
        return self


class ContainsCheck:
    """1 where every required text occurs and no forbidden one does."""

    def __init__(self, options: ContainsOptions) -> None:
        self._fold = str if options.case_sensitive else folded
        self._required = tuple(map(self._fold, options.required))
        self._forbidden = tuple(map(self._fold, options.forbidden))

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        if answer is None:
            return 0.0
        text = self._fold(text_of(answer))
        return passed(
            all(part in text for part in self._required) and not any(part in text for part in self._forbidden)
        )
