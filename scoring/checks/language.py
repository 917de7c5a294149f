"""`language`: the answer is in one of the allowed languages, as a model of 97 languages tells them apart."""

from functools import lru_cache
from typing import Any

from pydantic import Field, field_validator

from scoring.checks.base import CheckOptions, passed, text_of
from tutelage.contracts.records import Answer

MAX_CHARACTERS = 4_000
"""So much of an answer says what language it is in."""


class LanguageOptions(CheckOptions):
    """`languages`: ISO 639-1 codes, in small letters. `minimum`: a shorter answer passes, there is too little to tell."""

    languages: tuple[str, ...] = Field(min_length=1)
    minimum: int = Field(20, ge=0)

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        known = {str(label) for label in _identifier().labels}
        for language in languages:
            if language not in known:
                raise ValueError(f"there is no language {language!r}; there are {', '.join(sorted(known))}")
        return languages


class LanguageCheck:
    """1 where the answer reads as one of the languages. No text fails, unless `minimum` lets it pass."""

    def __init__(self, options: LanguageOptions) -> None:
        self._options = options

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        if answer is None:
            return 0.0
        text = text_of(answer)[:MAX_CHARACTERS].strip()
        if len(text) < self._options.minimum:
            return 1.0
        return passed(language_of(text) in self._options.languages)


def language_of(text: str) -> str:
    """The language that a text reads as: an ISO 639-1 code."""
    return str(_identifier().classify(text[:MAX_CHARACTERS])[0])


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """The model, read once, when a rubric first asks for it: a tenth of a second, 5 MB."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)
