"""Records: what is written, once. One schema version each; everything stored or shipped is one of these.

Times are UTC seconds (float); durations are monotonic milliseconds (`_ms`); money is integer nano-dollars (`_nusd`);
shares and propensities are basis points (`_bp`). None means unknown, never zero. Text is as captured, after redaction.

Add a field: give it a default, raise `SCHEMA_VERSION`, say it in docs/RECORDS.md. Records know nothing of who writes
them.
"""

from typing import Any

import msgspec

from router.types import Arm, Direction, RoutePlan

SCHEMA_VERSION = 1
Json = Any  # a decoded JSON value: str, int, float, bool, None, list or dict of these


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all records: immutable, keyword-only, encoded by `encode`."""


class Usage(Record, frozen=True, kw_only=True):
    """Tokens of one answer, as the upstream counted them."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None


class Answer(Record, frozen=True, kw_only=True):
    """One arm's answer: all choices in the order of their index, as JSON objects of the API's `message` shape.

    A streamed answer is assembled from its deltas. `text` is the first choice's content (None when it has none).
    """

    text: str | None = None
    choices: tuple[Json, ...] = ()
    finish_reason: str | None = None
    refusal: str | None = None
    tool_calls: tuple[Json, ...] = ()
    logprobs: Json = None


class Attempt(Record, frozen=True, kw_only=True):
    """One upstream call. `purpose`: serve, retry, fallback, shadow or rescore. `started` is UTC seconds.

    `status` is the upstream's HTTP status or None when none came; `error` is an error class of
    `gateway.upstreams.base` ("connect", "timeout_first_token", "status_500", "truncated", …) or None.
    `broke` tells that the answer began and did not end. `left_out` names fields of the request that did not reach this
    upstream as they came: dropped, or said in its own words.
    """

    arm: Arm
    upstream: str
    version: str
    purpose: str
    started: float
    total_ms: float
    first_token_ms: float | None = None
    status: int | None = None
    error: str | None = None
    broke: bool = False
    upstream_request_id: str | None = None
    fingerprint: str | None = None
    usage: Usage | None = None
    cost_nusd: int | None = None
    price_version: str | None = None
    answer: Answer | None = None
    left_out: tuple[str, ...] = ()


class Plan(Record, frozen=True, kw_only=True):
    """`router.types.RoutePlan` as stored."""

    serve: Arm
    assigned: Arm
    fallback: Arm | None
    shadow: Arm | None
    holdout: bool
    in_population: bool
    reasons: tuple[str, ...]
    bucket: int
    share_bp: int
    arm_bp: int
    shadow_bp: int
    floor_bp: int
    policy_version: int

    @classmethod
    def of(cls, plan: RoutePlan) -> "Plan":
        return cls(
            serve=plan.serve,
            assigned=plan.assigned,
            fallback=plan.fallback,
            shadow=plan.shadow,
            holdout=plan.holdout,
            in_population=plan.in_population,
            reasons=plan.reasons,
            bucket=plan.bucket,
            share_bp=plan.share_bp,
            arm_bp=plan.arm_bp,
            shadow_bp=plan.shadow_bp,
            floor_bp=plan.floor_bp,
            policy_version=plan.policy_version,
        )


class CapturePolicy(Record, frozen=True, kw_only=True):
    """Which policy allowed this row: `log` is off, metadata or full; `train` False where anybody denied it."""

    log: str
    train: bool
    purpose: str | None = None
    redaction_version: str | None = None


class Exchange(Record, frozen=True, kw_only=True, tag="exchange", tag_field="kind"):
    """One request with its attempts and answer, spooled when serving ends.

    `request` is the redacted request JSON without `model` (None when `policy.log` is not "full");
    `params_hash` covers the request without model, user and metadata; `input_hash` the canonical last user message.
    `outcome`: ok, client_error, upstream_error, client_cancelled or truncated. `cause` names the fault.
    """

    id: str
    gateway: str
    sequence: int
    generation: int
    snapshot: int
    digest: str
    route: str
    tenant: str
    key_id: str
    subject: str | None
    conversation: str
    turn: int | None
    admitted_at: float
    endpoint: str
    stream: bool
    request: Json
    params_hash: str
    input_hash: str | None
    sticky_source: str
    salt: str
    revision: int
    epoch: str
    plan: Plan
    attempts: tuple[Attempt, ...]
    served_arm: Arm | None
    outcome: str
    policy: CapturePolicy
    cause: str | None = None
    successor: str | None = None
    client_gone: bool = False
    truncated: bool = False
    ended_ms: float = 0.0
    overhead_ms: float | None = None
    slices: dict[str, str] = {}
    response_headers: dict[str, str] = {}
    schema: int = SCHEMA_VERSION


class ShadowAttempt(Record, frozen=True, kw_only=True, tag="shadow", tag_field="kind"):
    """The other arm's answer to an exchange, spooled on its own when it ends, whatever became of it.

    `lost` names why there is no attempt (a counted reason: "too_large", "redaction_failed", "shutdown", …), else None.
    """

    id: str
    exchange_id: str
    gateway: str
    route: str
    ended_at: float
    attempt: Attempt | None
    params_hash: str
    lost: str | None = None
    schema: int = SCHEMA_VERSION


class Feedback(Record, frozen=True, kw_only=True, tag="feedback", tag_field="kind"):
    """What a person said of an exchange. `type`: thumb, score, comment or correction."""

    id: str
    exchange_id: str
    tenant: str
    type: str
    value: Json
    at: float
    schema: int = SCHEMA_VERSION


Spooled = Exchange | ShadowAttempt | Feedback


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


class Unit(Record, frozen=True, kw_only=True):
    """One observation: what a gate folds. `d` is the mean over the sampled turns, None where `missing` names the class.

    `key` is the sticky key's pseudonym (distinct keys are counted). Of its sampled `turns`, `unscored` have no score for a
    reason that could hide bad answers. `revision` is the rollout's at admission. `metrics`
    holds what is measured beside d, by name, each the mean over the turns and within [-1, 1]; `times_ms` both arms' times.
    `harm` is what detectors read of d and `severe` where some turns have no plain score, which are 0 there; else empty.
    """

    id: str
    route: str
    epoch: str
    direction: Direction
    revision: int
    key: str
    d: float | None
    first_at: float
    last_at: float
    turns: int = 1
    unscored: int = 0
    weight_milli: int = 1000
    risk_milli: int = 1000
    policy_version: int = 0
    missing: str | None = None
    slices: dict[str, str] = {}
    metrics: dict[str, float] = {}
    times_ms: dict[str, float] = {}
    harm: dict[str, float] = {}


class GateRules(Record, frozen=True, kw_only=True):
    """What must pass beside overall quality, and what is watched beside it. The defaults: nothing.

    `severe`, `slice_margin` and `disagreement` are margins, `floor` the least mean score of the student itself; None: not
    asked for. `slices` names the slices whose values are cells of their own, from `slice_share_bp` of the traffic on.
    `guardrails` are metrics that detectors watch, each with the harm that it tolerates. Of one sticky key at most
    `max_units_per_key` of 200 units count; None: all. Values of the slice `adaptive` that have passed are sampled less.
    `label_bp` of the pairs are drawn for people to score, and the last two rungs need what they say; None: no labels.
    """

    severe: float | None = None
    slices: tuple[str, ...] = ()
    slice_margin: float = 0.1
    slice_share_bp: int = 500
    floor: float | None = None
    disagreement: float | None = None
    guardrails: dict[str, float] = {}
    max_units_per_key: int | None = None
    adaptive: str | None = None
    label_bp: int | None = None


class Epoch(Record, frozen=True, kw_only=True):
    """What the operator declared, frozen before the first read. `id` is a digest of all of it.

    `alpha` is the top rung's, of a first attempt: `scoring.gates.view` makes of it the rungs' and the later attempts'.
    """

    id: str
    route: str
    student: str
    teacher: str
    rubric: str | None
    judge: str | None
    judge_prompt_hash: str | None
    system_prompt_version: str | None
    delta: float
    delta_r: float
    alpha: float
    sigma0: float
    sigma0_source: str
    stages_bp: tuple[int, ...]
    dwell_s: float
    approval: str
    trained_until: float | None
    unit: str
    opened_at: float
    judge_fallback: str | None = None
    gates: GateRules = GateRules()
    schema: int = SCHEMA_VERSION


class CellNumbers(Record, frozen=True, kw_only=True):
    """One cell as a decision saw it."""

    cell: str
    n: int
    mean_d: float | None
    log_e: float
    threshold: float
    lower_bound: float | None = None
    missing: dict[str, int] = {}
    histogram_digest: str | None = None


class Decision(Record, frozen=True, kw_only=True):
    """Why the share is what it is: written for every move and every refusal. Replaying it decides the same.

    Where the gate decided it, `facts` are what it knew of the machinery and `folds` how many folds it had read.
    """

    id: str
    at: float
    route: str
    student: str
    attempt: int
    epoch: str
    revision_from: int
    revision_to: int
    phase_from: str
    phase_to: str
    from_bp: int
    to_bp: int
    event: str
    actor: str
    reason: str
    cells: tuple[CellNumbers, ...] = ()
    detectors: dict[str, float] = {}
    holds: tuple[str, ...] = ()
    facts: dict[str, Json] = {}
    folds: int | None = None
    code_version: str = ""
    schema: int = SCHEMA_VERSION


class Spending(Record, frozen=True, kw_only=True):
    """What one account of a route came to on a UTC day (days since 1970). Key: (route, day, account); sums add.

    `account` is teacher, student, shadow, reverse, rescore or judge. `unpriced` calls cost something that nobody knows.
    """

    route: str
    day: int
    account: str
    calls: int
    unpriced: int
    nusd: int


class KeyLimits(Record, frozen=True, kw_only=True):
    """What one key may have open, ask per minute and spend per UTC day, on one host. None: the default of `limits.key`."""

    max_concurrency: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    usd_per_day: float | None = None


class Key(Record, frozen=True, kw_only=True):
    """An API key at rest: `digest` is the SHA-256 of the key (256 random bits, so a slow hash buys nothing)."""

    id: str
    digest: str
    tenant: str
    label: str
    created_at: float
    role: str = "data"  # data, admin or internal
    may_pin: bool = False
    may_log: bool = True
    may_train: bool = True
    may_pass_through: bool = True
    revoked_at: float | None = None
    limits: KeyLimits | None = None
    schema: int = SCHEMA_VERSION


_encoder = msgspec.json.Encoder()
_spooled: msgspec.json.Decoder[Spooled] = msgspec.json.Decoder(Spooled)


def encode(record: Record) -> bytes:
    """A record as canonical JSON bytes (fields in declared order)."""
    return _encoder.encode(record)


def decode_spooled(body: bytes) -> Spooled:
    """Read what a gateway spooled. Raises msgspec.ValidationError naming the field that does not fit."""
    return _spooled.decode(body)
