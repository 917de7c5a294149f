"""The configuration of a route: its arms, and how it captures, splits, shadows, judges and rolls out. A part of `settings`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from router.types import FULL_BP
from tutelage.contracts.decisions import IDLE_S
from tutelage.contracts.values import BasisPoints, Seconds, Section, SliceValue

STICKINESS = ("header:x-tutelage-session", "prompt_cache_key", "safety_identifier", "user", "first_message")


LEAST_WEIGHT = 0.01
HeaderSource = Annotated[str, Field(pattern=r"^header:[A-Za-z0-9_-]+$")]
Matched = Annotated[str, Field(min_length=1)]


class CaptureSettings(Section):
    """Content is captured only with `content: full` and a recorded purpose."""

    content: Literal["off", "metadata", "full"] = "metadata"
    purpose: str | None = None
    retention_days: int = Field(30, ge=1)
    redact: tuple[Literal["secrets", "contact"], ...] = ("secrets",)

    @model_validator(mode="after")
    def _purposeful(self) -> "CaptureSettings":
        if self.content == "full" and not self.purpose:
            raise ValueError("capture of content needs a purpose: say what it is for, it is recorded with every row")
        return self


class SliceSettings(Section):
    """Where slices come from: `routing` is known at admission (`header:NAME`), `analysis` is found in the text."""

    routing: tuple[HeaderSource, ...] = ()
    analysis: tuple[Literal["language", "length"], ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """Header by slice: `header:x-tutelage-slice` is the slice `slice`; another header gives its own name."""
        found = [source.removeprefix("header:").lower() for source in self.routing]
        return {header.removeprefix("x-tutelage-"): header for header in found}


class ShadowSettings(Section):
    """Rates of shadow calls. `teacher: auto` = min(100 %, pairs_per_day / student traffic of a day)."""

    student: BasisPoints = FULL_BP
    teacher: BasisPoints | Literal["auto"] = "auto"
    pairs_per_day: int = Field(500, ge=1)
    max_usd_per_day: float | None = Field(None, ge=0)
    holdout: BasisPoints = 0


class JudgeSettings(Section):
    """`upstream` is served under the internal route `judge:<upstream>`; `fallback` judges what it could not.

    `rate: auto` is all pairs, or what `max_usd_per_day` affords.
    """

    upstream: str
    fallback: str | None = None
    both_orders: BasisPoints = 2000
    anchors_every: Seconds = Field(86_400.0, ge=60)
    rate: BasisPoints | Literal["auto"] = "auto"
    max_usd_per_day: float | None = Field(None, ge=0)


class GuardrailSettings(Section):
    """What detectors watch beside quality, each with the mean harm that is tolerated; none: not watched."""

    error: float | None = Field(0.05, ge=0, lt=1)
    refusal: float | None = Field(0.05, ge=0, lt=1)
    invalid: float | None = Field(0.05, ge=0, lt=1)
    slow_first_token: float | None = Field(0.1, ge=0, lt=1)
    slow_total: float | None = Field(0.1, ge=0, lt=1)
    cost: float | None = Field(0.25, ge=0, lt=1)
    length: float | None = Field(0.25, ge=0, lt=1)
    outcome: float | None = Field(0.1, ge=0, lt=1)


class CarveOutSettings(Section):
    """The values of `slice` that climb apart, each with its part of the error rates and of the day's budgets. What they leave is
    the rest's: all other values.
    """

    slice: str
    weights: dict[SliceValue, Annotated[float, Field(gt=0, lt=1)]] = Field(min_length=1, max_length=15)

    @property
    def rest(self) -> float:
        return 1.0 - sum(self.weights.values())

    @model_validator(mode="after")
    def _leaving_a_rest(self) -> "CarveOutSettings":
        if self.rest < LEAST_WEIGHT:
            total = sum(self.weights.values())
            raise ValueError(f"weights add up to {total:g}: leave at least {LEAST_WEIGHT:g} to all other values")
        return self


class GateSettings(Section):
    """What must pass beside overall quality. Margins are of mean differences, as `rollout.margin`; none: not asked for.

    Every slice of `slices.routing` is made of cells; those of `slices.analysis` that are `required` are as well.
    """

    severe: Annotated[float, Field(gt=0, lt=1)] | Literal["margin", "off"] = "margin"
    required: tuple[Literal["language", "length"], ...] = ()
    slice_margin: float | None = Field(None, gt=0, lt=1)
    slice_share: BasisPoints = 500
    floor: float | None = Field(None, gt=0, lt=1)
    disagreement: float | None = Field(None, gt=0, lt=1)
    guardrails: GuardrailSettings = GuardrailSettings()
    max_units_per_key: int | None = Field(10, ge=1)
    adaptive: Literal["auto", "off"] = "auto"
    watch: BasisPoints = Field(1000, ge=1)
    labels: BasisPoints | None = Field(None, ge=1)
    labels_within: Seconds = Field(1_209_600.0, ge=60)
    outcomes: BasisPoints = FULL_BP
    carve_outs: CarveOutSettings | None = None


class RolloutSettings(Section):
    """The ladder and its error rates: see docs/STATISTICS.md. `sigma0` is the sd of d from an offline evaluation."""

    mode: Literal["gated", "observe"] = "gated"
    stages: tuple[BasisPoints, ...] = (0, 100, 500, 1000, 2500, 5000, 9000)
    margin: float = Field(0.05, gt=0, lt=1)
    alpha: float = Field(0.005, gt=0, le=0.2)
    delta_r: float | None = Field(None, ge=0, lt=1)
    sigma0: float = Field(0.30, gt=0, le=1)
    sigma0_source: str = "default"
    dwell: Seconds = 3600.0
    approval: Literal["none", "required"] = "none"
    gates: GateSettings = GateSettings()


class FixedCostSettings(Section):
    """What the student costs whether it serves or not, in dollars: what its savings have to earn back."""

    data_usd: float = Field(0.0, ge=0)
    training_usd: float = Field(0.0, ge=0)
    evaluation_usd: float = Field(0.0, ge=0)
    upkeep_usd_per_day: float = Field(0.0, ge=0)


class RouteSettings(Section):
    """A name that clients send. With `student` either `rollout` (evidence moves the share) or `share` (people do)."""

    match: tuple[Matched, ...] = ()
    teacher: str
    student: str | None = None
    share: BasisPoints | None = None
    rollout: RolloutSettings | None = None
    fallback: Literal["teacher_only", "both", "none"] = "teacher_only"
    capture: CaptureSettings = CaptureSettings()
    stickiness: tuple[str, ...] = STICKINESS
    slices: SliceSettings = SliceSettings()
    shadow: ShadowSettings = ShadowSettings()
    unit: Literal["conversation", "request"] = "conversation"
    conversation_idle: Seconds = Field(IDLE_S, ge=1, le=86_400)
    rubric: str | None = None
    judge: JudgeSettings | None = None
    fixed_cost: FixedCostSettings = FixedCostSettings()
    usage: Literal["inject", "if_asked"] = "inject"
    model: Literal["upstream", "echo"] = "upstream"
    blind: bool = False
    system_prompt_version: str | None = None

    @model_validator(mode="after")
    def _one_way_to_split(self) -> "RouteSettings":
        if self.student is None and (self.share is not None or self.rollout is not None):
            raise ValueError("share and rollout need a student")
        if self.student is not None and (self.share is None) == (self.rollout is None):
            raise ValueError("a route with a student needs either rollout (evidence moves the share) or a fixed share")
        if self.rollout is not None and self.rollout.mode == "gated" and self.rubric is None:
            raise ValueError("a gated rollout needs a rubric")
        unknown = set() if self.rollout is None else {*self.rollout.gates.required} - {*self.slices.analysis}
        if unknown:
            raise ValueError(f"rollout.gates.required names {sorted(unknown)}: add them to slices.analysis")
        carved = None if self.rollout is None else self.rollout.gates.carve_outs
        if carved is not None and carved.slice not in self.slices.headers:
            known = ", ".join(self.slices.headers) or "none"
            raise ValueError(f"rollout.gates.carve_outs.slice names {carved.slice!r}; slices.routing has {known}")
        if self.rollout is not None and self.rollout.gates.labels is not None and self.unit != "request":
            raise ValueError("rollout.gates.labels needs unit: request: people score pairs, not whole conversations")
        if self.rollout is not None and self.rollout.gates.labels is not None:
            days, within_s = self.capture.retention_days, self.rollout.gates.labels_within
            if within_s > days * 86_400:
                raise ValueError(
                    f"rollout.gates.labels_within is longer than capture.retention_days, {days}: pairs would go first"
                )
        if self.rollout is not None and self.capture.content != "full":
            raise ValueError("a rollout needs capture: {content: full, purpose: …}: gates read both answers")
        return self
