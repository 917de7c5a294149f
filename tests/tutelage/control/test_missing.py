"""What is missing, late or failed: every cause from the record of it to what promotion and detectors read.

The rows are the law of intention to treat: what was sampled is accounted for, whatever happened then.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.types import Arm, Direction
from scoring.evidence import promotion_milli
from scoring.gates.controller import fold_all, initial
from scoring.gates.facts import ALL_WELL, Facts
from scoring.gates.holds import missing
from scoring.gates.verdict import Verdict
from scoring.gates.view import look
from scoring.rubrics.scorer import Said, compile_rubric
from scoring.rubrics.scorer import Verdict as JudgeVerdict
from tests.scoring.gates.made import epoch, rollout, unit
from tests.tutelage.control.made import attempt, exchange, plan, shadow
from tests.tutelage.control.test_join import HERE
from tutelage.contracts.decisions import Unit
from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import Answer, Exchange, ShadowAttempt
from tutelage.control.conclude import conclude
from tutelage.control.gates import LOSSES
from tutelage.control.units import of_requests
from tutelage.store.base import Exclusion, Scored

RUBRIC = "name: clear\nversion: 1\ncriteria: [{name: clear, weight: 1, judge: {question: 'Is it clear?', scale: 4}}]\n"
TEACHER, STUDENT = Arm.TEACHER, Arm.STUDENT
BAD: dict[str, Any] = {"status": 500, "error": "status_500", "answer": None}
TEACHER_BETTER = JudgeVerdict(scores={"clear": Said(teacher=1.0, student=0.75, d=-0.25)})
NO_VERDICT = JudgeVerdict(scores={}, failure="judge_unscorable")

Rows = Sequence[tuple[str, Exchange, tuple[ShadowAttempt, ...], JudgeVerdict, int, int, str | None]]


def student(**changes: Any) -> ShadowAttempt:
    return shadow(attempt=attempt(STUDENT, "shadow", **changes))


def other(text: str) -> dict[str, Any]:
    """An answer that differs from the teacher's, so that the judge is asked."""
    return {"answer": Answer(text=text)}


def served_by(*attempts: Any, **changes: Any) -> Exchange:
    return exchange(attempts=attempts, **changes)


MOVED = exchange(
    plan=plan(STUDENT, serve=TEACHER, shadow=STUDENT, reasons=("student_unavailable",)),
    attempts=(attempt(TEACHER),),
    served_arm=TEACHER,
)
FELL_BACK = exchange(
    assigned=STUDENT, attempts=(attempt(STUDENT, **BAD), attempt(TEACHER, "fallback")), served_arm=TEACHER
)
HUNG_UP = exchange(client_gone=True, outcome="client_cancelled", attempts=(attempt(TEACHER, error="client_cancelled"),))
ASKED_AGAIN = shadow(id="r-x1", attempt=attempt(TEACHER, "rescore"))

COUNTED: Rows = [
    # cause, exchange, shadows, what the judge says, d for promotion and for detectors (in 1/1000), class
    ("plain", exchange(), (student(**other("no")),), TEACHER_BETTER, -250, -250, None),
    ("equal", exchange(), (student(),), NO_VERDICT, 0, 0, None),
    ("student failed", exchange(), (student(**BAD),), TEACHER_BETTER, -1000, -1000, None),
    ("student timed out", exchange(), (student(status=None, error="timeout_total", answer=None),), TEACHER_BETTER,
     -1000, -1000, None),
    ("student refused with 4xx, teacher answered", exchange(), (student(status=400, error="status_400", answer=None),),
     TEACHER_BETTER, -1000, -1000, None),
    ("student fell back", FELL_BACK, (shadow(attempt=None, lost="answered_in_fallback"),), TEACHER_BETTER,
     -1000, -1000, None),
    ("breaker open after sampling", MOVED, (student(status=None, error="breaker_open", answer=None),), TEACHER_BETTER,
     -1000, -1000, None),
    ("breaker open, answered beside", MOVED, (student(),), TEACHER_BETTER, -1000, -1000, None),
    ("upstream broke mid-answer", exchange(), (student(broke=True, error="broken"),), TEACHER_BETTER,
     -1000, -1000, None),
    ("teacher failed", served_by(attempt(TEACHER, **BAD)), (student(**other("no")),), TEACHER_BETTER,
     -250, 0, "teacher_failed"),
    ("student's answer too large", exchange(), (student(error="too_large", answer=None),), TEACHER_BETTER,
     -1000, 0, "student_lost"),
    ("student's answer not redacted", exchange(), (student(error="redaction_failed", answer=None),), TEACHER_BETTER,
     -1000, 0, "student_lost"),
    ("client hung up, asked again", HUNG_UP, (student(**other("no")), ASKED_AGAIN), TEACHER_BETTER, -250, -250, None),
    ("judge refused after seeing content", exchange(), (student(**other("no")),), NO_VERDICT,
     -1000, 0, "judge_unscorable"),
]  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rubric")
    (made / "clear@1.yaml").write_text(RUBRIC)
    return made


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row[0])
def test_what_was_sampled_counts_as_the_law_says(row: Any, folder: Path):
    _, made, shadows, verdict, promotion, detectors, missing_class = row
    pair = conclude(made, shadows, HERE)
    assert isinstance(pair, Pair)
    assert pair.excluded is None
    scorer = compile_rubric(folder, "clear@1")
    draft = scorer.draft(pair)
    judgement = scorer.finish(draft, 1.0, verdict) if draft.needs_judge else scorer.finish(draft, 1.0)
    (counted,) = of_requests([Scored(order=1, pair=pair, judgement=judgement)]).units
    assert promotion_milli(counted) == promotion
    assert counted.missing == missing_class
    assert read_by_detectors(counted) == detectors


def read_by_detectors(counted: Unit) -> int:
    return 0 if counted.missing is not None or counted.d is None else round(counted.d * 1000)


@pytest.mark.parametrize(
    ("cause", "made", "shadows", "reason", "holds"),
    [
        ("gateway process died", exchange(), (), "gateway_died", True),
        ("client hung up, not asked again", HUNG_UP, (student(),), "client_gone", True),
        ("teacher's answer lost", served_by(attempt(TEACHER, error="too_large", answer=None)), (student(),),
         "too_large", True),
        ("both arms refuse", served_by(attempt(TEACHER, status=400, error="status_400", answer=None)),
         (student(status=422, error="status_422", answer=None),), "both_refused", False),
        ("pinned", exchange(plan=plan(in_population=False, reasons=("pinned",))), (student(),), "pinned", False),
        ("the student cannot do it", exchange(plan=plan(in_population=False, reasons=("tools",))), (student(),),
         "tools", False),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_counted_and_holds_where_it_could_hide_bad_answers(
    cause: str, made: Exchange, shadows: tuple[ShadowAttempt, ...], reason: str, holds: bool
):
    gone = conclude(made, shadows, HERE)
    assert isinstance(gone, Exclusion), cause
    assert (gone.reason, gone.revision) == (reason, made.revision)
    assert (reason in LOSSES) is holds


@pytest.mark.parametrize(
    ("lost", "of", "held"), [(0, 1_000, False), (5, 1_000, False), (10, 1_000, False), (15, 1_000, True), (3, 10, True)]
)
def test_the_rollout_holds_when_the_lower_limit_of_the_missing_rate_passes_half_a_percent(
    lost: int, of: int, held: bool
):
    rules = epoch()
    units = [
        unit(n, None, missing="judge_unscorable", unscored=1) if n < lost else unit(n, 0.0, key="one of many")
        for n in range(of)
    ]
    state = fold_all(initial(rollout(), rules), units, rollout(), rules)
    found = missing(look(state, rollout(), rules, ALL_WELL, 0.0))
    assert (found.verdict is Verdict.ERROR) is held


@pytest.mark.parametrize(
    ("lost", "direction", "held"),
    [(30, Direction.REVERSE, True), (30, Direction.FORWARD, False), (9, Direction.REVERSE, False)],
)
def test_what_is_lost_is_held_against_what_came_of_the_same_direction(lost: int, direction: Direction, held: bool):
    """10,000 forward turns and 500 reverse ones were scored: 30 are nothing to the former and much to the latter."""
    rules = epoch()
    units = [unit(0, turns=10_000), unit(1, turns=500, direction=Direction.REVERSE)]
    state = fold_all(initial(rollout(), rules), units, rollout(), rules)
    facts = Facts(missing={direction: {"gateway_died": lost}})
    found = missing(look(state, rollout(), rules, facts, 0.0))
    assert (found.verdict is Verdict.ERROR) is held
    assert (direction.value in found.words) or not held
    began = replace(rollout(), revision=9, since=replace(rollout().since, evidence=9))
    assert fold_all(state, (), began, rules).tallies == {}


def test_what_is_lost_is_of_the_population_that_its_pair_would_have_been_in():
    unjudged = replace(HERE, judge_bp=0)
    reverse = exchange(assigned=STUDENT)
    assert [_of(conclude(made, (), HERE)) for made in (exchange(), reverse)] == [Direction.FORWARD, Direction.REVERSE]
    assert _of(conclude(exchange(), (), unjudged)) is None
    assert _of(conclude(exchange(plan=plan(in_population=False, reasons=("pinned",))), (), HERE)) is None


def _of(gone: Pair | Exclusion) -> Direction | None:
    assert isinstance(gone, Exclusion)
    return gone.direction


def test_a_judge_that_fails_only_on_bad_answers_promotes_no_bad_student():
    """3.4 % of the answers are bad and never scored: dropped, the mean would be +.006; counted, it is -.055."""
    rules = epoch()
    units = [
        unit(n, None if n % 29 == 0 else -0.02, missing="judge_unscorable" if n % 29 == 0 else None)
        for n in range(3_000)
    ]
    state = fold_all(initial(rollout(), rules), units, rollout(), rules)
    assert state.overall.capital.max() < 1.0
    assert state.fresh.evidence.cell.direction is Direction.FORWARD
