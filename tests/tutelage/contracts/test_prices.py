import subprocess
import sys
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.contracts import prices
from tutelage.contracts.prices import PriceList, TokenPrices, table
from tutelage.contracts.records import Usage
from tutelage.contracts.upstreams import UpstreamSettings

USED = Usage(prompt=1000, completion=100, cached=400)


def upstream(**fields):
    kind = fields.pop("kind", "openai")
    return UpstreamSettings.model_validate({"kind": kind, "base_url": "http://x/v1", "model": "gpt-4.1", **fields})


def price(usage=USED, total_ms=100.0, **fields):
    return PriceList({"u": upstream(**fields)}).price("u", usage, total_ms)


def test_own_prices_are_exact_nano_dollars():
    found = price(cost={"prompt_usd_per_mtok": 2, "completion_usd_per_mtok": 8, "cached_usd_per_mtok": 0.5})
    assert found.nusd == 600 * 2_000 + 400 * 500 + 100 * 8_000
    assert found.version.startswith("settings-")


def test_cached_tokens_cost_what_the_prompt_costs_where_nothing_else_is_said():
    assert price(cost={"prompt_usd_per_mtok": 2, "completion_usd_per_mtok": 8}).nusd == 1000 * 2_000 + 100 * 8_000


def test_more_cached_tokens_than_the_prompt_has_are_no_rebate():
    own = TokenPrices(prompt=2_000_000, completion=0, cached=500_000)
    assert (
        own.of(Usage(prompt=100, completion=0, cached=400)) == own.of(Usage(prompt=100, completion=0, cached=100)) == 50
    )


def test_a_gpu_hour_is_shared_out_by_time_and_needs_no_usage():
    found = price(None, 1_800_000.0, kind="vllm", cost={"gpu_hour_usd": 2.1, "gpus": 2})
    assert found.nusd == 2_100_000_000


def test_calls_that_share_a_gpu_share_its_price():
    alone = price(None, 1_800_000.0, kind="vllm", cost={"gpu_hour_usd": 2.1})
    shared = price(None, 1_800_000.0, kind="vllm", cost={"gpu_hour_usd": 2.1, "concurrency": 7})
    assert shared.nusd * 7 == alone.nusd


def test_the_version_changes_with_the_price_and_only_then():
    cost = {"prompt_usd_per_mtok": 2, "completion_usd_per_mtok": 8}
    versions = [price(cost=cost).version, price(cost=cost).version, price(cost=cost | {"gpus": 2}).version]
    assert versions[0] == versions[1] != versions[2]


def test_a_providers_model_is_priced_by_the_table():
    found = price()
    assert found.nusd == 600 * 2_000 + 400 * 500 + 100 * 8_000
    assert found.version == f"litellm-{metadata.version('litellm')}"


def test_a_provider_prefix_is_dropped_only_for_its_own_models():
    assert "claude-sonnet-4-5" in table()
    assert price(kind="litellm", model="anthropic/claude-sonnet-4-5") is not None
    assert price(kind="litellm", model="elsewhere/claude-sonnet-4-5") is None


@pytest.mark.parametrize(
    "unknown",
    [
        {"model": "never-heard-of"},
        {"kind": "vllm"},
        {"usage": None},
        {"usage": Usage(prompt=10)},
        {"cost": {"prompt_usd_per_mtok": 2}},
    ],
)
def test_what_is_not_known_is_none_and_never_zero(unknown):
    assert price(**unknown) is None
    assert PriceList({}).price("nobody", USED, 1.0) is None


@pytest.mark.parametrize(("prompt", "nusd"), [(200_000, 200_000 * 3_000), (200_001, None)])
def test_a_prompt_beyond_which_the_table_has_another_price_has_none(monkeypatch, prompt, nusd):
    entry = {"input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5}
    entry |= {"input_cost_per_token_above_200k_tokens": 6e-6, "output_cost_per_token_above_272k_tokens": 2e-5}
    monkeypatch.setattr(prices, "table", lambda: {"gpt-4.1": entry})
    found = price(Usage(prompt=prompt, completion=0))
    assert (found and found.nusd) == nusd


def test_a_listed_price_of_nothing_is_none_and_ones_own_is_zero(monkeypatch):
    monkeypatch.setattr(prices, "table", lambda: {"gpt-4.1": {"input_cost_per_token": 0, "output_cost_per_token": 0.0}})
    assert price() is None
    assert price(cost={"prompt_usd_per_mtok": 0, "completion_usd_per_mtok": 0}).nusd == 0


def test_embeddings_cost_their_prompt_only():
    assert TokenPrices(prompt=20_000_000, completion=0).of(Usage(prompt=1000)) == 20_000


def test_a_table_that_cannot_be_read_makes_prices_unknown(monkeypatch):
    monkeypatch.setattr(prices, "_TABLE", "litellm/gone.json")
    table.cache_clear()
    try:
        assert price() is None
    finally:
        table.cache_clear()


@given(tokens=st.integers(0, 10**9), cents=st.integers(0, 10**6))
def test_whole_nano_dollars_per_token_lose_nothing(tokens, cents):
    exact = TokenPrices(prompt=cents * 1_000_000, completion=0)
    assert exact.of(Usage(prompt=tokens, completion=1)) == tokens * cents


def test_the_table_is_read_without_importing_litellm():
    code = (
        "import sys; from tutelage.contracts.prices import table; assert len(table()) > 1000; "
        "assert not any(name.split('.')[0] == 'litellm' for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
