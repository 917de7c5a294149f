"""The configuration of an upstream: where it is, what it can do, costs and may take. A part of `settings`."""

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from tutelage.contracts.values import Instant, Secret, Section, Wait

TRANSLATED = ("guided_json", "max_tokens", "structured_outputs")
"""Fields of a request for which the gateway knows other words."""


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

    connect: Wait = 5.0
    first_token: Wait = 120.0
    idle: Wait = 60.0
    total: Wait = 600.0


class UpstreamSettings(Section):
    """One callable endpoint of an arm or judge. `base_url` may be a list: replicas of the same model and version."""

    kind: Literal["openai", "vllm", "litellm"]
    base_url: str | list[str] | None = None
    model: str = Field(min_length=1)
    version: str = "unversioned"
    api_key: Secret | None = None
    account: Literal["own", "client"] = "own"
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
        mine, others = ({_place(url) for url in one.urls} for one in (self, other))
        return self.model == other.model and (mine == others or not mine.isdisjoint(others))

    def may_be(self, other: "UpstreamSettings") -> bool:
        """Whether both may ask one model: where a provider's prefix leaves the place open (`litellm`), the name tells."""
        unplaced = not self.urls or not other.urls
        return self.same_model(other) or (unplaced and _bare(self.model) == _bare(other.model))

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
            if not re.fullmatch(r"[^?#@]+", url):
                raise ValueError("base_url: no user, query or fragment may stand in it; keys go into api_key")
        return self


def _place(url: str) -> tuple[str | None, int | None, str]:
    """Where a URL leads, however it is spelled."""
    parts = urlsplit(url)
    port = {"http": 80, "https": 443}.get(parts.scheme) if parts.port is None else parts.port
    return parts.hostname, port, parts.path.rstrip("/")


def _bare(model: str) -> str:
    return model.rpartition("/")[2]
