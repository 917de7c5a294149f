"""`numeric`: the answer's number is a given one, or the reference's, within a tolerance.

Reckoned in decimals, as people write numbers: 1.1 is within 0.1 of 1.0.
"""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from scoring.checks.base import CheckOptions, passed, text_of
from scoring.checks.regex import compile_pattern
from tutelage.contracts.records import Answer

MAX_CHARACTERS = 100_000
"""A longer answer is no number, and is wrong without being read."""
_NUMBER = compile_pattern(r"[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d{1,64})(?:\.\d{1,64})?|\.\d{1,64})(?:[eE][-+]?\d{1,4})?")
_BEFORE, _AFTER = " \t\r\n$€£¥*`", " \t\r\n$€£¥%*`.;:"


class NumericOptions(CheckOptions):
    """`value`: the number, without it the input's reference. It may be off by `absolute` or by `relative` of it, whichever is
    more. `where`: the answer is the number, or its first or last one counts."""

    value: float | None = Field(None, allow_inf_nan=False)
    absolute: float = Field(0, ge=0, allow_inf_nan=False)
    relative: float = Field(0, ge=0, allow_inf_nan=False)
    where: Literal["whole", "first", "last"] = "whole"


class NumericCheck:
    """1 where the number is near enough. No number fails, nor is NaN or an infinite one a number."""

    def __init__(self, options: NumericOptions) -> None:
        self._where = options.where
        self._value = None if options.value is None else _decimal(options.value)
        self._absolute, self._relative = _decimal(options.absolute), _decimal(options.relative)

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        if self._value is None and reference is None:
            return None
        wanted = self._value if self._value is not None else number(text_of(Answer(text=reference)), "whole")
        said = number(text_of(answer), self._where)
        if wanted is None or said is None:
            return 0.0
        return passed(abs(said - wanted) <= max(self._absolute, self._relative * abs(wanted)))


def number(text: str, where: str) -> Decimal | None:
    """The number that a text is, or its first or last one; None where there is none."""
    if len(text) > MAX_CHARACTERS:
        return None
    if where == "whole":
        whole = text.lstrip(_BEFORE).rstrip(_AFTER)
        found = [whole] if _NUMBER.fullmatch(whole) else []
    else:
        found = _NUMBER.findall(text)
    return Decimal(found[-1 if where == "last" else 0].replace(",", "").replace("−", "-")) if found else None


def _decimal(value: float) -> Decimal:
    """The shortest decimal that reads back as `value`: what its author wrote."""
    return Decimal(repr(value))


def no_number(reference: str) -> str | None:
    """Why a text is no number."""
    return None if number(text_of(Answer(text=reference)), "whole") is not None else f"{reference[:40]!r} is no number"
