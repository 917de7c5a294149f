"""`similarity`: how near the answer's meaning is to the reference's, as the cosine of static word vectors.

Cheap and shallow: it knows which words go together, not what a sentence says. "Paid" and "not paid" are alike to it. The
vectors come with the extra `embeddings`; nothing is downloaded.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from scoring.checks.base import CheckOptions, passed, text_of
from tutelage.contracts.records import Answer

MAX_CHARACTERS = 16_000
"""Of either text; the rest is not read."""


class SimilarityOptions(CheckOptions):
    """`minimum`: from which cosine on the answer passes; without it the score is the cosine, 0 where it is negative."""

    minimum: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _there(self) -> "SimilarityOptions":
        try:
            _vectors()
        except ImportError:
            raise ValueError("the similarity check needs word vectors: pip install 'tutelage[embeddings]'") from None
        return self


class SimilarityCheck:
    """The cosine, or whether it is high enough. No text is like nothing."""

    def __init__(self, options: SimilarityOptions) -> None:
        self._minimum = options.minimum

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        if reference is None:
            return None
        said, wanted = text_of(answer)[:MAX_CHARACTERS], text_of(Answer(text=reference))[:MAX_CHARACTERS]
        if not said.strip() or not wanted.strip():
            return 0.0
        cosine = min(1.0, max(0.0, float(_vectors().similarity(said, wanted))))
        return cosine if self._minimum is None else passed(cosine >= self._minimum)


@lru_cache(maxsize=1)
def _vectors() -> Any:
    """The vectors, read once, when a rubric first asks for them, from the package's own folder. Raises ImportError."""
    import wordllama

    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
