"""What decisions are made of: units, the epoch that was declared, and the decision itself. The rules are those of `records`."""

from router.types import Direction
from tutelage.contracts.records import SCHEMA_VERSION, Json, Record


class Unit(Record, frozen=True, kw_only=True):
    """One observation: what a gate folds. `d` is the mean over the sampled turns, None where `missing` names the class.

    `key` is the sticky key's pseudonym (distinct keys are counted). Of its sampled `turns`, `unscored` have no score for a
    reason that could hide bad answers. `revision` is the rollout's at admission. `metrics`
    holds what is measured beside d, by name, each the mean over the turns and within [-1, 1]; `times_ms` both arms' times,
    turn by turn.
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
    times_ms: dict[str, tuple[float, ...]] = {}
    harm: dict[str, float] = {}


class GateRules(Record, frozen=True, kw_only=True):
    """What must pass beside overall quality, and what is watched beside it. The defaults: nothing.

    `severe`, `slice_margin` and `disagreement` are margins, `floor` the least mean score of the student itself; None: not
    asked for. `slices` names the slices whose values are cells of their own, from `slice_share_bp` of the traffic on.
    `guardrails` are metrics that detectors watch, each with the harm that it tolerates. Of one sticky key at most
    `max_units_per_key` of 200 units count; None: all. Values of the slice `adaptive` that have passed are sampled less.
    `label_bp` of the pairs are drawn for people to score, and the last two rungs need what they say; None: no labels. What
    is drawn and has no label `label_within_s` after its admission counts as the worst. Of `outcome_bp` of the users outcomes
    are compared between arms.
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
    label_within_s: float = 1_209_600.0
    outcome_bp: int = 10_000


IDLE_S = 1_800.0
"""A conversation is over when it has been silent for this long, where the route says nothing else."""


class Epoch(Record, frozen=True, kw_only=True):
    """What the operator declared, frozen before the first read. `id` is a digest of all of it.

    `alpha` is the top rung's, of a first attempt: `scoring.gates.view` makes of it the rungs' and the later attempts'. `weight`
    is what this route has of it and of the false alarms: below 1 where its slice climbs apart from others.
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
    weight: float = 1.0
    idle_s: float = IDLE_S
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
