"""The configuration schema: what users write, checked once, strictly.

Owns every setting, its default and its bounds; docs/CONFIGURATION.md is its table (a test compares them). Knows nothing
of who reads it. How values are written is in `values`, what an upstream or a route may say in `upstreams` and `routes`;
here is the file as a whole, and what its parts must agree on. Parts that are declared but not built yet refuse by name.

Add a setting: one field, one row in docs/CONFIGURATION.md.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tutelage.contracts.routes import RouteSettings
from tutelage.contracts.upstreams import UpstreamSettings
from tutelage.contracts.values import Address, Name, RouteName, Seconds, Secret, Section

RESERVED: Mapping[str, str] = {
    "default": "default_upstream's models",
    "passthrough": "default_upstream's other endpoints",
}


class GatewaySettings(Section):
    """The data plane. `processes: auto` is one per core; process i has its metrics on `metrics_port` + i."""

    bind: Address = "0.0.0.0:8080"
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
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

    bind: Address = "127.0.0.1:8081"


class InternalSettings(Section):
    """How worker reaches the data plane for judge calls. `tutelage serve` generates both."""

    gateway_url: str = "http://127.0.0.1:8080"
    key: Secret | None = None


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
    routes: dict[RouteName, RouteSettings]
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

    @model_validator(mode="after")
    def _one_route_per_name(self) -> "Settings":
        """What two routes matched would be the first one's, and a route's own name is its own: the other would wait in vain."""
        taken = {name: name for name in self.routes}
        for name, route in self.routes.items():
            if name in RESERVED:
                raise ValueError(f"routes.{name}: this is what metrics call {RESERVED[name]}; name the route otherwise")
            for model in route.match:
                if (other := taken.setdefault(model, name)) != name:
                    raise ValueError(
                        f"routes.{name}.match: {model!r} is taken by routes.{other}; name it in one of them"
                    )
        return self

    def _no_self_judging(self, name: str, route: RouteSettings) -> None:
        """A judge is another model than both arms, whatever its upstream is called, and not its own fallback."""
        arms = {arm: self.upstreams[arm] for arm in (route.teacher, route.student) if arm is not None}
        judges = {} if route.judge is None else {"upstream": route.judge.upstream, "fallback": route.judge.fallback}
        for key, judge in judges.items():
            served = [arm for arm, model in arms.items() if judge is not None and self.upstreams[judge].may_be(model)]
            if served:
                what = "it" if judge in served else f"the model of upstream {served[0]!r}"
                raise ValueError(f"routes.{name}.judge.{key} {judge!r}: {what} serves an arm: no self-judging")
        if len(set(judges.values())) < len(judges):
            raise ValueError(f"routes.{name}.judge.fallback is the judge itself; name another upstream or none")

    def public(self) -> dict[str, Any]:
        """The configuration as published in the snapshot: JSON, basis points and seconds, secrets by name."""
        return self.model_dump(mode="json")
