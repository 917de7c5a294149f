"""Outcomes: what guardrails read of a pair, whatever the rubric asks. Pure; docs/RECORDS.md has the table.

An indicator is 0 or 1, and 1 is harm; what has a unit in its name is as measured. An arm without an answer has no value
but `error`. Add an outcome: a line in `_MEASURES` or `_INDICATORS` and a row in the table (a test compares them).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from pydantic import ValidationError

from scoring.checks import CHECKS, Check
from scoring.rubrics.answers import answer_of, failed
from tutelage.contracts.pairs import Outcome, Pair
from tutelage.contracts.records import Answer, Attempt, Json

MAX_SCHEMA_BYTES = 65_536
"""A client's schema that is longer is not read: its answers are only asked to be JSON."""
_REFUSAL = CHECKS["refusal"].build({})


def outcomes(pair: Pair, schemas: Sequence[Check]) -> dict[str, Outcome]:
    """All outcomes of `pair` that are known. `schemas` are the rubric's own checks of an answer's form."""
    forms = (*schemas, *_asked_form(pair.request))
    found = {name: Outcome(teacher=read(pair.teacher), student=read(pair.student)) for name, read in _MEASURES.items()}
    found |= {
        "refusal": _by_answer(pair, lambda answer: 1.0 - (_REFUSAL.score(answer, None) or 0.0)),
        "invalid": _by_answer(pair, lambda answer: float(_unfit(answer, forms))),
    }
    if not forms:
        del found["invalid"]
    return {name: both for name, both in found.items() if both.teacher is not None or both.student is not None}


def fault(answer: Answer, request: Json, schemas: Sequence[Check]) -> float:
    """1 where one answer is a refusal or is not in the form that was asked for, else 0."""
    refused = 1.0 - (_REFUSAL.score(answer, None) or 0.0)
    return max(refused, float(_unfit(answer, (*schemas, *_asked_form(request)))))


def _unfit(answer: Answer, forms: Sequence[Check]) -> bool:
    """An answer that is a tool call and no text has no form to keep."""
    return not (answer.tool_calls and not answer.text) and any(form.score(answer, None) == 0.0 for form in forms)


def _by_answer(pair: Pair, read: Callable[[Answer], float]) -> Outcome:
    teacher, student = answer_of(pair.teacher), answer_of(pair.student)
    return Outcome(
        teacher=None if teacher is None else read(teacher), student=None if student is None else read(student)
    )


def _error(attempt: Attempt | None) -> float | None:
    return None if attempt is None else float(failed(attempt))


def _cost_nusd(attempt: Attempt | None) -> float | None:
    return None if attempt is None or attempt.cost_nusd is None else float(attempt.cost_nusd)


def _first_token_ms(attempt: Attempt | None) -> float | None:
    return attempt.first_token_ms if attempt is not None and not failed(attempt) else None


def _total_ms(attempt: Attempt | None) -> float | None:
    return attempt.total_ms if attempt is not None and not failed(attempt) else None


def _completion_tokens(attempt: Attempt | None) -> float | None:
    usage = attempt.usage if attempt is not None and not failed(attempt) else None
    return None if usage is None or usage.completion is None else float(usage.completion)


def _characters(attempt: Attempt | None) -> float | None:
    answer = answer_of(attempt)
    return None if answer is None else float(len(answer.text or ""))


_MEASURES: Mapping[str, Callable[[Attempt | None], float | None]] = {
    "error": _error,
    "first_token_ms": _first_token_ms,
    "total_ms": _total_ms,
    "cost_nusd": _cost_nusd,
    "completion_tokens": _completion_tokens,
    "characters": _characters,
}


def _asked_form(request: Json) -> tuple[Check, ...]:
    """The form that the request itself asked for; none where it asked for none, or with a schema that is not usable."""
    asked = request.get("response_format") if isinstance(request, dict) else None
    if not isinstance(asked, dict) or asked.get("type") not in ("json_object", "json_schema"):
        return ()
    given = asked.get("json_schema")
    schema = given.get("schema") if isinstance(given, dict) else None
    try:
        form = msgspec.json.encode(schema if isinstance(schema, dict) else {})
        return (_form(form if len(form) <= MAX_SCHEMA_BYTES else b"{}"),)
    except (UnicodeEncodeError, RecursionError, msgspec.MsgspecError):
        return ()


@lru_cache(maxsize=256)
def _form(schema: bytes) -> Check:
    """A client's schema is data: what a check would refuse is only asked to be JSON."""
    plain: dict[str, Any] = msgspec.json.decode(schema)
    try:
        return CHECKS["json_schema"].build({"schema": plain})
    except (ValidationError, RecursionError):
        return CHECKS["json_schema"].build({"schema": {}})
