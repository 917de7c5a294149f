"""What a student learns from: the teacher's answers as they were captured, one JSON object a line.

    {"input": "description", "answer": "games", "top_logprobs": {"games": -0.1, "science": -2.4} | null}

Owns the file's form, its checks and the split off which a student's agreement with the teacher is measured. Standard
library only, so that recorder and tests import it. It must not know how a student is trained, and there is no field
for a gold label: what is not in the file cannot be learnt from.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.sections.task import SECTIONS, canonical

VALIDATION_ROWS = 2_000


class BadCapture(ValueError):
    """A line of a captured file is not what it should be; the message names file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One answer of the teacher. `top_logprobs` are natural logarithms by section, None where none were captured."""

    input: str
    answer: str
    top_logprobs: Mapping[str, float] | None

    def target(self) -> tuple[float, ...]:
        """Return the probability of each section, in the order of `SECTIONS`, adding up to one.

        Sections the teacher did not name get none. Without log-probabilities the answer has all of it.
        """
        if not self.top_logprobs:
            return tuple(float(section == self.answer) for section in SECTIONS)
        weights = [math.exp(self.top_logprobs.get(section, -math.inf)) for section in SECTIONS]
        total = sum(weights)
        return tuple(weight / total for weight in weights)


def read_captured(path: Path) -> Iterator[Captured]:
    """Yield the answers of a file in its order. Raises BadCapture at the first line that is not one."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _parse(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise BadCapture(f"{path}, line {number}: {error!r}; see the form in {__name__}") from error


def write_captured(rows: Iterable[Captured], path: Path) -> int:
    """Write the answers, one a line; return how many there were."""
    count = 0
    with path.open("w", encoding="utf-8") as out:
        for count, row in enumerate(rows, start=1):  # noqa: B007 - the last number is the count
            line = {"input": row.input, "answer": row.answer, "top_logprobs": row.top_logprobs}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    return count


def hold_out(rows: Iterable[Captured], count: int = VALIDATION_ROWS) -> tuple[list[Captured], list[Captured]]:
    """Return (training rows, validation rows), the same for the same inputs in any order.

    At most a tenth is held out. Inputs that occur twice are kept once, so that none is on both sides.
    """
    unique = {canonical(row.input): row for row in rows}
    order = sorted(unique, key=lambda text: hashlib.sha256(text.encode("utf-8")).digest())
    held = min(count, len(order) // 10)
    return [unique[text] for text in order[held:]], [unique[text] for text in order[:held]]


def _parse(line: Mapping[str, Any]) -> Captured:
    text, answer, scores = line["input"], line["answer"], line.get("top_logprobs")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"'input' must be text, not {text!r}")
    if answer not in SECTIONS:
        raise ValueError(f"'answer' must be one of {', '.join(SECTIONS)}, not {answer!r}")
    if scores is not None:
        scores = {section: float(score) for section, score in scores.items() if section in SECTIONS}
        if not any(math.isfinite(score) for score in scores.values()):
            raise ValueError("'top_logprobs' names no section; write null where none were captured")
    return Captured(input=text, answer=answer, top_logprobs=scores)
