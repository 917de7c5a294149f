"""What a gate answers: one of four verdicts, with the number it read and the number it wanted.

Owns   `Verdict`, `Finding`.
Knows not  what follows from a verdict: that is `scoring.gates.controller`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """PASS: allowed. FAIL: harm is shown. INCONCLUSIVE: not enough data yet. ERROR: the data cannot be read now."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


def escaped(name: str) -> str:
    """A name from outside, made safe to stand in a template."""
    return name.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One gate's answer. `template` says it in words; `gate`, `value`, `need`, `n` are put in when somebody reads it."""

    gate: str
    verdict: Verdict
    value: float
    need: float
    n: int
    template: str

    @property
    def words(self) -> str:
        return self.template.format(gate=self.gate, value=self.value, need=self.need, n=self.n)
