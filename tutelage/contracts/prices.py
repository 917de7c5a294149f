"""Prices: what one attempt cost, in integer nano-dollars, and by which price list.

An upstream's own `cost` (per million tokens, or per GPU-hour) goes first; a provider's model without one is looked up in
litellm's table, read as a file from the installed distribution, once, when first asked, without importing litellm. What
is not known costs None, never 0: the table writes 0 for models that somebody else's hardware serves, and says dearer prices
for long prompts in other words than ours. The version stands on every row, so that a corrected price list can be applied to what
the old one got wrong.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tutelage.contracts.records import Usage
from tutelage.contracts.upstreams import CostSettings, UpstreamSettings

NUSD = 1_000_000_000
_MTOK = 1_000_000
_MS_PER_HOUR = 3_600_000
_TABLE = "litellm/model_prices_and_context_window_backup.json"
_ABOVE = re.compile(r"(?:input|output)_cost_per_token_above_(\d+)k_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an attempt cost, by the price list `version`."""

    nusd: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrices:
    """Nano-dollars per million tokens. Cached tokens are part of the prompt; None: they cost what the prompt costs. For a
    prompt of more than `up_to_tokens` there is another price, which we do not know."""

    prompt: int
    completion: int
    cached: int | None = None
    up_to_tokens: int | None = None

    def of(self, usage: Usage) -> int | None:
        """None where a count that costs something is unknown, or too large for these prices."""
        if (usage.prompt is None and self.prompt) or (usage.completion is None and self.completion):
            return None
        prompt = usage.prompt or 0
        if self.up_to_tokens is not None and prompt > self.up_to_tokens:
            return None
        cached = min(usage.cached or 0, prompt)
        cached_price = self.prompt if self.cached is None else self.cached
        total = (prompt - cached) * self.prompt + cached * cached_price + (usage.completion or 0) * self.completion
        return (total + _MTOK // 2) // _MTOK


class PriceList:
    """Prices of the configured upstreams, by name."""

    def __init__(self, upstreams: Mapping[str, UpstreamSettings]) -> None:
        self._upstreams = dict(upstreams)
        self._versions = {name: _version(item.cost) for name, item in upstreams.items() if item.cost is not None}
        self._tables: dict[str, TokenPrices | None] = {}

    def price(self, upstream: str, usage: Usage | None, total_ms: float) -> Price | None:
        """What a call to `upstream` cost; None where that is not known."""
        settings = self._upstreams.get(upstream)
        if settings is None:
            return None
        cost = settings.cost
        if cost is not None and cost.gpu_hour_usd is not None:
            nusd = round(cost.gpu_hour_usd * cost.gpus * NUSD * total_ms / _MS_PER_HOUR / cost.concurrency)
            return Price(nusd=nusd, version=self._versions[upstream])
        if usage is None:
            return None
        prices, version = self._tokens(upstream, settings)
        total = prices.of(usage) if prices is not None else None
        return Price(nusd=total, version=version) if total is not None else None

    def _tokens(self, upstream: str, settings: UpstreamSettings) -> tuple[TokenPrices | None, str]:
        if upstream not in self._tables:
            own = settings.cost is not None
            self._tables[upstream] = _own(settings.cost) if settings.cost is not None else _listed(settings)
            if not own:
                self._versions[upstream] = table_version()
        return self._tables[upstream], self._versions[upstream]


def table_version() -> str:
    """The version of the table, such as `litellm-1.106.2`."""
    return f"litellm-{metadata.version('litellm')}"


@lru_cache(maxsize=1)
def table() -> dict[str, dict[str, Any]]:
    """Model → its entry. Empty where the distribution is not installed or its table cannot be read: then prices are unknown."""
    try:
        path = Path(str(metadata.distribution("litellm").locate_file(_TABLE)))
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}


def _version(cost: CostSettings) -> str:
    return "settings-" + hashlib.sha256(cost.model_dump_json().encode()).hexdigest()[:8]


def _own(cost: CostSettings) -> TokenPrices | None:
    if cost.prompt_usd_per_mtok is None or cost.completion_usd_per_mtok is None:
        return None
    return TokenPrices(
        prompt=round(cost.prompt_usd_per_mtok * NUSD),
        completion=round(cost.completion_usd_per_mtok * NUSD),
        cached=None if cost.cached_usd_per_mtok is None else round(cost.cached_usd_per_mtok * NUSD),
    )


def _listed(settings: UpstreamSettings) -> TokenPrices | None:
    """A model served by ourselves has no list price, whatever its name."""
    entry = None if settings.kind == "vllm" else _entry(settings.model, settings.version)
    if entry is None:
        return None
    prompt, completion = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if not isinstance(prompt, int | float) or not isinstance(completion, int | float):
        return None
    if not prompt and not completion:
        return None
    steps = [int(found[1]) * 1_000 for name in entry if (found := _ABOVE.fullmatch(name))]
    cached = entry.get("cache_read_input_token_cost")
    return TokenPrices(
        prompt=round(prompt * _MTOK * NUSD),
        completion=round(completion * _MTOK * NUSD),
        cached=round(cached * _MTOK * NUSD) if isinstance(cached, int | float) else None,
        up_to_tokens=min(steps, default=None),
    )


def _entry(model: str, version: str) -> dict[str, Any] | None:
    """By full name, then without the provider's prefix where the entry belongs to that provider."""
    entries = table()
    provider, _, bare = model.rpartition("/")
    for name in (f"{model}-{version}", model):
        if name in entries:
            return entries[name]
    entry = entries.get(bare)
    return entry if entry is not None and entry.get("litellm_provider") == provider else None
