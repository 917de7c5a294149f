"""`exact`: the answer is a given value, or the reference where no value is given, character by character."""

from scoring.checks.base import CheckOptions, passed, text_of
from tutelage.contracts.records import Answer


class ExactOptions(CheckOptions):
    """`value`: what the answer must be; without it the input's reference. `strip`: ignore white space at the ends."""

    value: str | None = None
    strip: bool = True


class ExactCheck:
    """1 where answer and value are the same text. No normalisation besides `strip`."""

    def __init__(self, options: ExactOptions) -> None:
        self._options = options

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        wanted = self._options.value if self._options.value is not None else reference
        if wanted is None:
            return None
        if answer is None or answer.text is None:
            return 0.0
        return passed(self._ends(text_of(answer)) == self._ends(text_of(Answer(text=wanted))))

    def _ends(self, text: str) -> str:
        return text.strip() if self._options.strip else text
