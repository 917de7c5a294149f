"""The configuration schema: what users write, checked once, strictly.

Owns every setting, its default and its bounds; docs/CONFIGURATION.md is its table (a test compares them). Knows nothing
of who reads it. Shares become basis points, durations seconds, dates the end of their day (UTC). Secrets stay names:
`${NAME}` is resolved by whoever makes the call, never stored or published. Parts that are declared but not built yet
refuse by name.

Add a setting: one field here, one row in docs/CONFIGURATION.md.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from router.types import FULL_BP

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
TRANSLATED = ("guided_json", "max_tokens", "structured_outputs")
"""Fields of a request for which the gateway knows other words."""
STICKINESS = ("header:x-tutelage-session", "prompt_cache_key", "safety_identifier", "user", "first_message")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write 30s, 5m, 1h, 7d or 250ms")
    return float(match[1]) * _SECONDS[match[2]]


def _basis_points(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # as published: basis points already
    text = value.strip() if isinstance(value, str) else ""
    match = re.fullmatch(r"(\d+(?:\.\d{1,2})?)\s*%", text)
    share = round(float(match[1]) * 100) if match else -1
    if not 0 <= share <= FULL_BP:
        raise ValueError(f"{value!r} is not a share: write it in percent, 0% to 100%, at most two decimals")
    return share


def _secret_name(value: str) -> str:
    if not _SECRET.fullmatch(value):
        raise ValueError("write a secret as ${NAME} and put its value into that environment variable")
    return value


def _end_of_day(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        value = datetime.fromisoformat(value) if "T" in value or " " in value else date.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return (datetime.combine(value, time.min, UTC) + timedelta(days=1)).timestamp()
    raise ValueError(f"{value!r} is not a time: write 2026-11-01 (the end of that day, UTC) or 2026-11-01T12:00:00Z")


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
BasisPoints = Annotated[int, BeforeValidator(_basis_points), Field(ge=0, le=FULL_BP)]
Secret = Annotated[str, AfterValidator(_secret_name)]
Instant = Annotated[float, BeforeValidator(_end_of_day)]
Name = Annotated[str, Field(pattern=_NAME)]


class Section(BaseModel):
    """Base: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySettings(Section):
    """The data plane. `processes: auto` is one per core; process i has its metrics on `metrics_port` + i."""

    bind: str = "0.0.0.0:8080"
    processes: int | Literal["auto"] = "auto"
    metrics_port: int = Field(9100, ge=0, le=65535)
    drain_deadline: Seconds = 30.0

    def count(self, cores: int) -> int:
        """How many processes that is on a host of `cores`."""
        return cores if self.processes == "auto" else self.processes


class StoreSettings(Section):
    """Where rollouts, keys, evidence and pairs are kept."""

    url: str = "sqlite:///data/tutelage.db"


class ArchiveSettings(Section):
    """Where pairs will be archived for export. Nothing is written there yet, so a place that only a fleet has is refused."""

    url: str = "./data/archive"

    @model_validator(mode="after")
    def _local(self) -> "ArchiveSettings":
        if "://" in self.url:
            raise ValueError(
                f"archive.url {self.url!r}: object storage is not yet supported; name a folder or leave it out"
            )
        return self


class AdminSettings(Section):
    """The admin plane (control). Its metrics are on the same port, under /metrics."""

    bind: str = "127.0.0.1:8081"


class InternalSettings(Section):
    """How worker reaches the data plane for judge calls. `tutelage serve` generates both."""

    gateway_url: str = "http://127.0.0.1:8080"
    key: Secret | None = None


class CanSettings(Section):
    """What a student can do; the rest is served by the teacher."""

    context: int | None = Field(None, ge=1)
    tools: bool = False
    structured: bool = False
    vision: bool = False
    audio: bool = False
    logprobs: bool = True
    endpoints: tuple[Literal["chat.completions", "completions", "embeddings", "responses"], ...] = ("chat.completions",)


class CostSettings(Section):
    """Prices in dollars: per million tokens, or per GPU-hour. Without any, the price table is asked by model name.

    `concurrency` is how many calls share the GPUs at a time, on average: each is charged that part of its time.
    """

    prompt_usd_per_mtok: float | None = Field(None, ge=0)
    completion_usd_per_mtok: float | None = Field(None, ge=0)
    cached_usd_per_mtok: float | None = Field(None, ge=0)
    gpu_hour_usd: float | None = Field(None, ge=0)
    gpus: int = Field(1, ge=1)
    concurrency: float = Field(1.0, ge=1)


class DeadlineSettings(Section):
    """Every wait has a name. `first_token` counts from the request's end to the first byte of the answer's body."""

    connect: Seconds = 5.0
    first_token: Seconds = 120.0
    idle: Seconds = 60.0
    total: Seconds = 600.0


class UpstreamSettings(Section):
    """One callable endpoint of an arm or judge. `base_url` may be a list: replicas of the same model and version."""

    kind: Literal["openai", "vllm", "litellm"]
    base_url: str | list[str] | None = None
    model: str
    version: str = "unversioned"
    api_key: Secret | None = None
    training_use: Literal["allowed", "denied", "unknown"] = "unknown"
    trained_until: Instant | None = None
    successor: bool = False
    can: CanSettings = CanSettings()
    cost: CostSettings | None = None
    deadlines: DeadlineSettings = DeadlineSettings()
    max_connections: int = Field(256, ge=1)
    ca_file: str | None = None
    fields: dict[str, Literal["pass", "drop", "translate", "reject"]] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        if self.base_url is None:
            return ()
        return (self.base_url,) if isinstance(self.base_url, str) else tuple(self.base_url)

    def same_model(self, other: "UpstreamSettings") -> bool:
        """Whether both ask one model at one place."""
        together = self.urls == other.urls or not set(self.urls).isdisjoint(other.urls)
        return self.model == other.model and together

    @model_validator(mode="after")
    def _reachable(self) -> "UpstreamSettings":
        if self.kind != "litellm" and not self.urls:
            raise ValueError(f"an upstream of kind {self.kind} needs base_url")
        if self.kind == "litellm" and self.ca_file is not None:
            raise ValueError("ca_file is not for kind litellm: set SSL_CERT_FILE for the process")
        for field, rule in self.fields.items():
            if rule == "translate" and field not in TRANSLATED:
                raise ValueError(f"fields.{field} has no translation; there are some for {', '.join(TRANSLATED)}")
            if field in ("model", "stream"):
                raise ValueError(f"fields.{field}: the gateway itself reads it, it cannot be left out")
        for url in self.urls:
            if not re.match(r"https?://[^/]+", url):
                raise ValueError(f"base_url {url!r} must begin with http:// or https:// and name a host")
        return self


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

    routing: tuple[str, ...] = ()
    analysis: tuple[Literal["language", "length"], ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """Header by slice: `header:x-tutelage-slice` is the slice `slice`; another header gives its own name."""
        found = [source.removeprefix("header:").lower() for source in self.routing if source.startswith("header:")]
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
    carve_outs: Literal["off"] = "off"


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

    match: tuple[str, ...] = ()
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
        if self.rollout is not None and self.rollout.gates.labels is not None and self.unit != "request":
            raise ValueError("rollout.gates.labels needs unit: request: people score pairs, not whole conversations")
        if self.rollout is not None and self.capture.content != "full":
            raise ValueError("a rollout needs capture: {content: full, purpose: …}: gates read both answers")
        return self


class KeyLimitSettings(Section):
    """What a key may do where it has no limit of its own. None: no bound. For one host; divided by its gateway processes."""

    max_concurrency: int | None = Field(None, ge=1)
    rpm: int | None = Field(None, ge=1)
    tpm: int | None = Field(None, ge=1)
    usd_per_day: float | None = Field(None, ge=0)


class LimitSettings(Section):
    """Bounds of one gateway process. Shadow calls beyond `shadows` are not sampled, counted `shed`."""

    request_mb: float = Field(32, gt=0)
    answer_mb: float = Field(32, gt=0)
    memory_mb: float = Field(512, gt=0)
    streams: int = Field(2000, ge=1)
    shadows: int = Field(64, ge=0)
    spool_records: int = Field(10_000, ge=1)
    spool_mb: float = Field(256, gt=0)
    key: KeyLimitSettings = KeyLimitSettings()

    @model_validator(mode="after")
    def _largest_request_fits(self) -> "LimitSettings":
        if self.memory_mb < self.request_mb:
            raise ValueError(
                f"memory_mb {self.memory_mb:g} is below request_mb {self.request_mb:g}: set it at least as high"
            )
        return self


class Settings(Section):
    """The whole file."""

    data_dir: str = "./data"
    rubrics: str = "./rubrics"
    gateway: GatewaySettings = GatewaySettings()
    store: StoreSettings = StoreSettings()
    archive: ArchiveSettings = ArchiveSettings()
    admin: AdminSettings = AdminSettings()
    internal: InternalSettings = InternalSettings()
    upstreams: dict[Name, UpstreamSettings]
    default_upstream: str | None = None
    routes: dict[Name, RouteSettings]
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="before")
    @classmethod
    def _inside_data_dir(cls, document: Any) -> Any:
        """Store and archive follow `data_dir` where they are not given."""
        if isinstance(document, dict) and isinstance(place := document.get("data_dir", "./data"), str):
            place = place.rstrip("/")
            defaults = {"store": {"url": f"sqlite:///{place}/tutelage.db"}, "archive": {"url": f"{place}/archive"}}
            return defaults | document
        return document

    @model_validator(mode="after")
    def _names_exist(self) -> "Settings":
        def known(where: str, name: str | None) -> None:
            if name is not None and name not in self.upstreams:
                raise ValueError(f"{where} names upstream {name!r}; there are {', '.join(sorted(self.upstreams))}")

        known("default_upstream", self.default_upstream)
        for name, route in self.routes.items():
            known(f"routes.{name}.teacher", route.teacher)
            known(f"routes.{name}.student", route.student)
            if route.judge is not None:
                known(f"routes.{name}.judge.upstream", route.judge.upstream)
                known(f"routes.{name}.judge.fallback", route.judge.fallback)
                self._no_self_judging(name, route)
            gated = route.rollout is not None and route.rollout.mode == "gated"
            if gated and route.student is not None and self.upstreams[route.student].trained_until is None:
                raise ValueError(f"upstreams.{route.student} needs trained_until: gates read only later pairs")
        return self

    def _no_self_judging(self, name: str, route: RouteSettings) -> None:
        """A judge is another model than both arms, whatever its upstream is called, and not its own fallback."""
        arms = {arm: self.upstreams[arm] for arm in (route.teacher, route.student) if arm is not None}
        judges = {} if route.judge is None else {"upstream": route.judge.upstream, "fallback": route.judge.fallback}
        for key, judge in judges.items():
            served = [
                arm for arm, model in arms.items() if judge is not None and self.upstreams[judge].same_model(model)
            ]
            if served:
                what = "it" if judge in served else f"the model of upstream {served[0]!r}"
                raise ValueError(f"routes.{name}.judge.{key} {judge!r}: {what} serves an arm: no self-judging")
        if len(set(judges.values())) < len(judges):
            raise ValueError(f"routes.{name}.judge.fallback is the judge itself; name another upstream or none")

    def public(self) -> dict[str, Any]:
        """The configuration as published in the snapshot: JSON, basis points and seconds, secrets by name."""
        return self.model_dump(mode="json")
