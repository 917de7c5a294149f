"""`label`: the answer is the reference value, up to case, white space and punctuation at its ends.

An input without a reference has no score: the pair is outside the population of a `label` rubric.
"""

from functools import lru_cache

from scoring.checks.base import CheckOptions, folded, passed, text_of
from tutelage.contracts.records import Answer

PUNCTUATION = " \t\r\n.,;:!?\"'`*_()[]{}<>“”‘’«»"
MAX_CHARACTERS = 4096
"""A longer answer is no label: it is wrong without being read."""


class LabelOptions(CheckOptions):
    """`case_sensitive`: whether `Net` differs from `net`. `strip`: characters that do not count at either end."""

    case_sensitive: bool = False
    strip: str = PUNCTUATION


class LabelCheck:
    """1 where the answer names the reference value and nothing else."""

    def __init__(self, options: LabelOptions) -> None:
        self._options = options
        self._normal = lru_cache(maxsize=4096)(self._normalised)

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        if reference is None:
            return None
        text = text_of(answer)
        if len(text) > MAX_CHARACTERS and len(text) > 2 * len(reference):
            return 0.0
        said = self._normal(text)
        return passed(said and said == self._normal(text_of(Answer(text=reference))))

    def _normalised(self, text: str) -> str:
        text = text if self._options.case_sensitive else folded(text)
        return text.strip(self._options.strip)
