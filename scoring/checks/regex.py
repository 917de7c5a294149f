"""`regex`: the answer matches a pattern. RE2 syntax: time is linear in the answer, and the answer is bounded, so that no
pattern and no answer can stall a worker."""

from functools import lru_cache
from typing import Any, Literal

import re2
from pydantic import Field, field_validator

from scoring.checks.base import CheckOptions, passed, text_of
from tutelage.contracts.records import Answer

MAX_PATTERN_BYTES = 1 << 20
"""What a compiled pattern may take; RE2 refuses more."""
MAX_CHARACTERS = 100_000
"""A longer answer fails unread: the slowest patterns take some ten microseconds a character."""


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Any:
    """A compiled RE2 pattern. Raises ValueError for one that RE2 cannot read: back-references, look-arounds, bombs."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_BYTES
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as fault:
        reason = fault.args[0].decode() if isinstance(fault.args[0], bytes) else fault
        raise ValueError(f"pattern {pattern[:200]!r} is not RE2 syntax: {reason}") from None


class RegexOptions(CheckOptions):
    """`pattern`: RE2 syntax. `where`: anywhere in the answer, or all of it. `expect`: what must happen."""

    pattern: str = Field(min_length=1, max_length=4000)
    where: Literal["anywhere", "whole"] = "anywhere"
    expect: Literal["match", "no_match"] = "match"

    @field_validator("pattern")
    @classmethod
    def _readable(cls, pattern: str) -> str:
        compile_pattern(pattern)
        return pattern


class RegexCheck:
    """1 where the pattern does what is expected of it. No answer fails, and one that is too long."""

    def __init__(self, options: RegexOptions) -> None:
        compiled = compile_pattern(options.pattern)
        self._match = compiled.search if options.where == "anywhere" else compiled.fullmatch
        self._wanted = options.expect == "match"

    def score(self, answer: Answer | None, reference: str | None) -> float | None:
        text = text_of(answer)
        if answer is None or len(text) > MAX_CHARACTERS:
            return 0.0
        return passed((self._match(text) is not None) == self._wanted)
