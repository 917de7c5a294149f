"""What a check is: a deterministic test of one answer.

Owns the protocol, the base of options, and how an answer's text is read. Must not know rubrics, pairs or which arm gave
the answer.

Every check keeps the contract of tests/scoring/checks/test_contract.py:
    total           any answer gives a score in [0, 1], or None where the input has no reference; `score` never raises
    deterministic   the same answer and reference give the same score
    bounded         linear in the answer's length, whatever a model wrote
"""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from tutelage.contracts.records import Answer


class CheckOptions(BaseModel):
    """Base of a check's options: unknown names are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Check(Protocol):
    """Scores one answer. `reference` is the right answer of the input, None where none is known."""

    def score(self, answer: Answer | None, reference: str | None) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckKind:
    """One line of the table: the schema of the options, and a check from validated options.

    `build` raises pydantic.ValidationError where the options do not fit. `of_teacher` is the teacher's answer as a reference;
    `fault` says why a text is no reference of this kind, None where it is one.
    """

    options: type[CheckOptions]
    build: Callable[[Mapping[str, Any]], Check]
    of_teacher: Callable[[Answer | None], str]
    fault: Callable[[str], str | None]


O = TypeVar("O", bound=CheckOptions)  # noqa: E741 - the options of one kind


def text_of(answer: Answer | None) -> str:
    """The answer's text, "" where it has none; lone surrogates, which no encoder takes, become question marks."""
    text = (answer.text if answer is not None else None) or ""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def any_text(reference: str) -> str | None:
    """Any text is a reference."""
    return None


def kind(
    options: type[O],
    check: Callable[[O], Check],
    *,
    of_teacher: Callable[[Answer | None], str] = text_of,
    fault: Callable[[str], str | None] = any_text,
) -> CheckKind:
    """The table's line for a check that takes `options`."""
    return CheckKind(
        options=options,
        build=lambda given: check(options.model_validate(dict(given))),
        of_teacher=of_teacher,
        fault=fault,
    )


def folded(text: str) -> str:
    """The form in which text is compared without regard to case: NFKC, case folded, white space runs as one blank."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def passed(outcome: object) -> float:
    """A pass as a score."""
    return 1.0 if outcome else 0.0
