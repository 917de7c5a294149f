"""Pairs and what is made of them: scores, judgements, a judge's anchors. The rules are those of `records`."""

from router.types import Direction
from tutelage.contracts.records import SCHEMA_VERSION, Attempt, CapturePolicy, Json, Record


class Pair(Record, frozen=True, kw_only=True):
    """Both arms' answers to one input, joined by control. Key: the exchange's id.

    `parity` lists the differences between what both arms were asked ([] = the same parameters).
    `excluded` names why no gate may read it (None = it counts). `training_use` is what the operator says of the terms of
    the upstream that answered as the teacher: allowed, denied or unknown.
    """

    id: str
    route: str
    epoch: str
    attempt_number: int
    revision: int
    direction: Direction
    admitted_at: float
    sticky_key: str
    unit_id: str
    endpoint: str
    request: Json
    input_hash: str | None
    teacher: Attempt | None
    student: Attempt | None
    policy: CapturePolicy
    shadow_bp: int
    floor_bp: int
    policy_version: int
    judge_bp: int = 10_000
    holdout: bool = False
    parity: tuple[str, ...] = ()
    excluded: str | None = None
    training_use: str = "unknown"
    slices: dict[str, str] = {}
    schema: int = SCHEMA_VERSION


class Serving(Record, frozen=True, kw_only=True):
    """How one request was served, by what needs no judge, whether it was drawn for a shadow or not. Key: the exchange's id.

    `direction` is the assigned arm's, forward the teacher's; `unit` what it is counted in; `value` is in [0, 1].
    """

    id: str
    route: str
    epoch: str
    revision: int
    direction: Direction
    unit: str
    key: str
    at: float
    value: float
    slices: dict[str, str] = {}
    schema: int = SCHEMA_VERSION


class CriterionScore(Record, frozen=True, kw_only=True):
    """One criterion. `teacher` and `student` are scores in [0, 1], None where there was nothing to score or a pairwise judge
    gave no scores; `d` is their difference, or the pairwise verdict: the mean over the orders asked of {-1, 0, 1}.
    """

    criterion: str
    weight: float
    teacher: float | None
    student: float | None
    d: float | None = None
    note: str | None = None


class Outcome(Record, frozen=True, kw_only=True):
    """One outcome of both arms. An indicator is 0 or 1, up is harm; what has a unit in its name is as measured."""

    teacher: float | None
    student: float | None


APART = frozenset({"judge_unscorable", "student_lost", "teacher_failed", "worker_failed"})
"""Failures that are counted as missing: their score, if any, is an assumption."""
SEVERE = -0.5
"""From this difference down a pair is a severe regression; from its opposite up, as large a gain."""


class Judgement(Record, frozen=True, kw_only=True):
    """Scores of one pair under one rubric version by one method. Key: (pair, rubric version, method).

    `d` is score(student) - score(teacher) in [-1, 1], None where `failure` names why there is none:
    "judge_unscorable" after seeing content, "student_lost" and "worker_failed" count as d = -1 for promotion and 0 for
    rollback; "student_failed" and "teacher_failed" carry a d already; "no_reference" (a `label` rubric, no right answer) is
    outside the population: counted, never -1. `failure` is None for a plain score.
    """

    pair_id: str
    rubric: str
    method: str
    scores: tuple[CriterionScore, ...]
    d: float | None
    scored_at: float
    disagreement: float | None = None
    teacher_score: float | None = None
    student_score: float | None = None
    outcomes: dict[str, Outcome] = {}
    risk_milli: int = 1000
    failure: str | None = None
    judge: str | None = None
    judge_version: str | None = None
    prompt_hash: str | None = None
    orders: tuple[str, ...] = ()
    first_minus_second: float | None = None
    rationale: str | None = None
    cost_nusd: int | None = None
    retries: int = 0
    schema: int = SCHEMA_VERSION

    @property
    def missing(self) -> str | None:
        """The class under which this score is kept apart; None for a plain score and outside the population."""
        return self.failure if self.failure in APART else None

    @property
    def severe(self) -> int | None:
        """1 for a gain of .5 or more, -1 for a regression of .5 or more, else 0; None without a d."""
        return None if self.d is None else (self.d >= -SEVERE) - (self.d <= SEVERE)


class AnchorReading(Record, frozen=True, kw_only=True):
    """What a judge made today of a labelled pair, beside what it made of it first. Key: `id`.

    `reference_d` is the first plain reading of this anchor under the same rubric, judge and prompt; None where this is it.
    """

    id: str
    route: str
    rubric: str
    anchor: str
    at: float
    d: float | None
    reference_d: float | None
    label_d: float | None
    judge: str
    judge_version: str
    prompt_hash: str
    failure: str | None = None
    cost_nusd: int | None = None
    schema: int = SCHEMA_VERSION

    @property
    def drift(self) -> float | None:
        """Half of judge_now - judge_ref, in [-1, 1]; None for a first reading and without a d."""
        return None if self.d is None or self.reference_d is None else (self.d - self.reference_d) / 2
