"""A rubric made ready: checks built, right answers loaded; pairs in, judgements out. Pure once compiled.

Owns how scores become d and what a failed arm is worth. Must not know stores, clocks or how a judge is asked: `draft` does
what can be done without one, whoever asked the judge hands its scores to `finish`.

    d = sum of weight x (score(student) - score(teacher)) over `none` and `label` criteria, in [-1, 1]

| what came of the pair | failure | d |
|---|---|---|
| both arms answered | none | by the rubric |
| the student failed, or refused where the teacher did not | student_failed | its score is 0; at a judge the teacher has 1 |
| the teacher failed, or both | teacher_failed | its score is 1; the student's by comparison with nothing is 0 |
| the student's answer was lost (too large, not redacted) | student_lost | None: -1 for promotion, 0 for rollback |
| a `label` rubric has no right answer for the input | no_reference | None: outside the population, counted, never -1 |
| the judge saw content and gave no usable verdict | judge_unscorable | None: -1 for promotion, 0 for rollback |
| scoring crashed, or was never finished, several times | worker_failed | None: -1 for promotion, 0 for rollback |
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import ValidationError

from scoring.checks import CHECKS, Check
from scoring.rubrics.answers import answer_of, failed, refused, same_answer
from scoring.rubrics.labels import load_labels
from scoring.rubrics.load import load_rubric
from scoring.rubrics.outcomes import fault, outcomes
from scoring.rubrics.schema import Criterion, Rubric
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.pairs import CriterionScore, Judgement, Outcome, Pair
from tutelage.contracts.records import Answer, Attempt, Json

CHECK, JUDGE = "check", "judge"
"""Methods. A rubric has one: `judge` where any criterion needs a judge, so that a pair has one key per rubric version."""

JUDGE_UNSCORABLE = "judge_unscorable"
NO_REFERENCE = "no_reference"
STUDENT_FAILED = "student_failed"
STUDENT_LOST = "student_lost"
TEACHER_FAILED = "teacher_failed"
WORKER_FAILED = "worker_failed"
WITHOUT_D = frozenset({JUDGE_UNSCORABLE, NO_REFERENCE, STUDENT_LOST, WORKER_FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a judge said on one criterion: the difference, and both scores in [0, 1] where it gave scores."""

    d: float
    teacher: float | None = None
    student: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge made of one pair, per criterion. `failure` where it made nothing.

    `first_minus_second` is the weighted difference between the answers in the order in which they were shown.
    """

    scores: Mapping[str, Said]
    failure: str | None = None
    judge: str | None = None
    judge_version: str | None = None
    prompt_hash: str | None = None
    orders: tuple[str, ...] = ()
    first_minus_second: float | None = None
    rationale: str | None = None
    cost_nusd: int | None = None
    retries: int = 0


NOTHING_ASKED = Verdict(scores={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A pair scored by its checks. `needs_judge`: hand it on with a verdict; otherwise `finish` it as it is."""

    pair: Pair
    reference: str | None
    scores: tuple[CriterionScore, ...]
    outcomes: Mapping[str, Outcome]
    failure: str | None
    needs_judge: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """One compiled rubric. `labels` are right answers by the hash of the input.

    Equal answers are a tie for `free`; where a floor is kept they are `asked` about, for the score that both have.
    """

    rubric: Rubric
    checks: Mapping[str, Check]
    labels: Mapping[str, str]
    ties: Literal["free", "asked"] = "free"

    @property
    def method(self) -> str:
        return JUDGE if self.rubric.needs_judge else CHECK

    def draft(self, pair: Pair, correction: str | None = None) -> Draft:
        """What the checks and the arms' failures say. Deterministic. A person's `correction` goes over the label.

        It makes no label where there is none: inputs of which an answer was bad would join the population.
        """
        label = self.labels.get(pair.input_hash) if pair.input_hash is not None else None
        reference = label if label is None or correction is None or self._unreadable(correction) else correction
        failure = self._failure(pair, reference)
        scored = () if failure in (NO_REFERENCE, STUDENT_LOST) else self.rubric.criteria
        return Draft(
            pair=pair,
            reference=reference,
            scores=tuple(self._by_check(criterion, pair, reference, failure) for criterion in scored),
            outcomes=outcomes(pair, self._schemas()),
            failure=failure,
            needs_judge=self.rubric.needs_judge and failure in self._judged_failures() and self._worth_asking(pair),
        )

    def finish(self, draft: Draft, scored_at: float, verdict: Verdict = NOTHING_ASKED) -> Judgement:
        """The judgement of a drafted pair. Raises KeyError where the verdict lacks a criterion."""
        asked = draft.needs_judge and verdict.failure is None
        scores = tuple(_with_verdict(score, verdict, draft) for score in draft.scores) if asked else draft.scores
        failure = verdict.failure or draft.failure
        without = failure in WITHOUT_D
        return Judgement(
            pair_id=draft.pair.id,
            rubric=self.rubric.id,
            method=self.method,
            scores=scores,
            d=None if without else self._d(scores),
            scored_at=scored_at,
            disagreement=self._disagreement(scores),
            teacher_score=None if without else self._own(score.teacher for score in self._counted(scores)),
            student_score=None if without else self._own(score.student for score in self._counted(scores)),
            outcomes=dict(draft.outcomes),
            risk_milli=self.rubric.risk_milli(draft.pair.slices),
            failure=failure,
            judge=verdict.judge,
            judge_version=verdict.judge_version,
            prompt_hash=verdict.prompt_hash,
            orders=verdict.orders,
            first_minus_second=verdict.first_minus_second,
            rationale=verdict.rationale,
            cost_nusd=verdict.cost_nusd,
            retries=verdict.retries,
        )

    def alone(self, attempt: Attempt, request: Json, input_hash: str | None) -> float:
        """What one arm's attempt is worth by what needs no judge, in [0, 1]: its score where checks alone give one, else 1
        without a fault. An answer of which nothing can be known, too large to keep or not redacted, is worth nothing either:
        that it could not be read is no pass. Of both arms the same.
        """
        answer = answer_of(attempt)
        if answer is None:
            return 0.0
        label = self.labels.get(input_hash) if input_hash is not None else None
        own = [self.checks[c.name].score(answer, label) for c in self._alone()] if not self.rubric.needs_judge else []
        score = self._own(own) if own else None
        return 1.0 - fault(answer, request, self._schemas()) if score is None else score

    def given_up(self, pair: Pair, scored_at: float, retries: int) -> Judgement:
        """The judgement of a pair that several deliveries did not get scored: unscorable, and counted as that."""
        return Judgement(
            pair_id=pair.id,
            rubric=self.rubric.id,
            method=self.method,
            scores=(),
            d=None,
            scored_at=scored_at,
            risk_milli=self.rubric.risk_milli(pair.slices),
            failure=WORKER_FAILED,
            retries=retries,
        )

    def _failure(self, pair: Pair, reference: str | None) -> str | None:
        if reference is None and any(criterion.reference == "label" for criterion in self.rubric.criteria):
            return NO_REFERENCE
        teacher, student = answer_of(pair.teacher), answer_of(pair.student)
        if failed(pair.teacher):
            return TEACHER_FAILED
        if failed(pair.student) or (refused(student) and not refused(teacher)):
            return STUDENT_FAILED
        if student is None:
            return STUDENT_LOST
        return TEACHER_FAILED if teacher is None else None

    def _worth_asking(self, pair: Pair) -> bool:
        """Whether there is something to judge: an answer of the student's, and not the teacher's own words."""
        student = answer_of(pair.student)
        return student is not None and (self.ties == "asked" or not same_answer(answer_of(pair.teacher), student))

    def _unreadable(self, correction: str) -> bool:
        """Whether a `label` check cannot read what a person wrote: `about five` is no number, so the label stands."""
        specs = [c.check for c in self.rubric.criteria if c.check is not None and c.reference == "label"]
        return any(CHECKS[spec.kind].fault(correction) is not None for spec in specs)

    def _judged_failures(self) -> tuple[str | None, ...]:
        """Whose pairs a judge can say something about: a comparison needs both answers, a score only the student's."""
        return (None,) if self.rubric.judging == "pairwise" else (None, TEACHER_FAILED)

    def _alone(self) -> list[Criterion]:
        """The criteria of an arm's own score."""
        return [criterion for criterion in self.rubric.criteria if criterion.reference != "teacher"]

    def _schemas(self) -> list[Check]:
        return [
            self.checks[criterion.name]
            for criterion in self.rubric.criteria
            if criterion.check is not None and criterion.check.kind == "json_schema"
        ]

    def _by_check(self, criterion: Criterion, pair: Pair, reference: str | None, failure: str | None) -> CriterionScore:
        """Scores by the criterion's check; what a judge has yet to say is None. A failed arm's score is set."""
        teacher, student = answer_of(pair.teacher), answer_of(pair.student)
        check = self.checks.get(criterion.name)
        scores: tuple[float | None, float | None]
        note = None
        if check is None:
            scores = (None, None)
            note = "equal answers: a tie" if same_answer(teacher, student) else None
        elif criterion.check is not None and criterion.reference == "teacher":
            scores = (1.0, check.score(student, CHECKS[criterion.check.kind].of_teacher(teacher)))
        else:
            scores = (check.score(teacher, reference), check.score(student, reference))
        if failure == STUDENT_FAILED:
            note = "the judge is not asked about a failure: teacher read as 1" if check is None else None
            scores = (1.0 if scores[0] is None else scores[0], 0.0)
        if failure == TEACHER_FAILED:
            unseen = student is None or (check is None and self.rubric.judging == "pairwise")
            scores = (1.0, 0.0 if unseen else scores[1])
        return CriterionScore(
            criterion=criterion.name,
            weight=criterion.weight,
            teacher=scores[0],
            student=scores[1],
            d=_difference(*scores),
            note=note,
        )

    def _counted(self, scores: tuple[CriterionScore, ...]) -> list[CriterionScore]:
        """Scores of the criteria that enter d."""
        apart = {criterion.name for criterion in self.rubric.criteria if criterion.reference == "teacher"}
        return [score for score in scores if score.criterion not in apart]

    def _d(self, scores: tuple[CriterionScore, ...]) -> float:
        """A criterion without scores is a tie."""
        parts = [score.weight * score.d for score in self._counted(scores) if score.d is not None]
        return max(-1.0, min(1.0, math.fsum(parts)))

    def _disagreement(self, scores: tuple[CriterionScore, ...]) -> float | None:
        counted = self._counted(scores)
        apart = [score for score in scores if score not in counted and score.d is not None]
        weight = math.fsum(score.weight for score in apart)
        return math.fsum(score.weight * (score.d or 0.0) for score in apart) / weight if apart else None

    def _own(self, values: Iterable[float | None]) -> float | None:
        """One arm's own score; None where a criterion has none."""
        weights = [criterion.weight for criterion in self._alone()]
        parts = [None if value is None else weight * value for weight, value in zip(weights, values, strict=True)]
        known = [part for part in parts if part is not None]
        return min(1.0, math.fsum(known)) if len(known) == len(parts) else None


def compile_rubric(folder: str | Path, name: str) -> Scorer:
    """The rubric `name` in `folder`, ready. Raises ConfigurationError naming rubric, criterion, bad value and fix."""
    rubric = load_rubric(folder, name)
    checks = {c.name: _build(rubric, c) for c in rubric.criteria if c.check is not None}
    for criterion in rubric.criteria:
        if criterion.judge is not None and criterion.reference == "teacher":
            raise _fault(rubric, criterion, "a judge cannot score agreement with the teacher; use a check")
    labels = load_labels(Path(folder) / rubric.labels) if rubric.labels is not None else {}
    for criterion in rubric.criteria:
        if criterion.check is not None and criterion.reference == "label":
            _usable(rubric, criterion, CHECKS[criterion.check.kind].fault, labels)
    return Scorer(rubric=rubric, checks=checks, labels=labels)


def _build(rubric: Rubric, criterion: Criterion) -> Check:
    spec = criterion.check
    if spec is None or spec.kind not in CHECKS:
        kind = spec.kind if spec is not None else None
        raise _fault(rubric, criterion, f"there is no check {kind!r}; there are {', '.join(sorted(CHECKS))}")
    try:
        check = CHECKS[spec.kind].build(spec.options)
    except ValidationError as faults:
        lines = [f"{'.'.join(map(str, e['loc'])) or spec.kind}: {e['msg']}" for e in faults.errors(include_url=False)]
        raise _fault(rubric, criterion, "options: " + "; ".join(lines)) from None
    reads_reference = check.score(Answer(text="probe"), None) is None
    if reads_reference and criterion.reference == "none":
        raise _fault(rubric, criterion, f"check {spec.kind!r} needs a reference: write reference: label or teacher")
    if not reads_reference and criterion.reference != "none":
        raise _fault(rubric, criterion, f"check {spec.kind!r} reads no reference: write reference: none")
    return check


def _usable(
    rubric: Rubric, criterion: Criterion, fault: Callable[[str], str | None], labels: Mapping[str, str]
) -> None:
    """Raises ConfigurationError for the first right answer that the check cannot read."""
    for key, value in labels.items():
        reason = fault(value)
        if reason is not None:
            raise _fault(rubric, criterion, f"the right answer of input {key[:12]}…: {reason}")


def _fault(rubric: Rubric, criterion: Criterion, reason: str) -> ConfigurationError:
    return ConfigurationError(f"rubric {rubric.id}, criterion {criterion.name!r}: {reason}")


def _difference(teacher: float | None, student: float | None) -> float | None:
    return None if teacher is None or student is None else student - teacher


def _with_verdict(score: CriterionScore, verdict: Verdict, draft: Draft) -> CriterionScore:
    if score.student is not None:
        return score
    said = verdict.scores[score.criterion]
    if draft.failure == TEACHER_FAILED:
        said = Said(teacher=1.0, student=said.student, d=_difference(1.0, said.student) or 0.0)
    if said.teacher is not None and same_answer(answer_of(draft.pair.teacher), answer_of(draft.pair.student)):
        both = (said.teacher + (said.student or 0.0)) / 2
        said = Said(teacher=both, student=both, d=0.0)
    return msgspec.structs.replace(score, teacher=said.teacher, student=said.student, d=said.d)
