import pytest

from gateway.upstreams.litellm import LitellmUpstream
from gateway.upstreams.openai import OpenAIUpstream
from gateway.upstreams.registry import UPSTREAMS, build_upstream
from tests.gateway.upstreams.contract import ask, call, echo
from tests.gateway.upstreams.server import scripted
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.upstreams import UpstreamSettings


def settings(**fields: object) -> UpstreamSettings:
    return UpstreamSettings.model_validate({"model": "m"} | fields)


def test_every_kind_that_settings_allow_can_be_built():
    allowed = UpstreamSettings.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]  # a Literal
    assert set(allowed) == set(UPSTREAMS)


def test_each_kind_becomes_its_upstream():
    urls = ["http://a/v1", "http://b/v1"]
    vllm = build_upstream("triage", settings(kind="vllm", base_url=urls), {})
    assert isinstance(vllm, OpenAIUpstream)
    assert [replica.name for replica in vllm.replicas] == ["a/v1", "b/v1"]
    assert isinstance(build_upstream("claude", settings(kind="litellm"), {}), LitellmUpstream)


async def test_the_secret_comes_from_the_environment():
    async with scripted(echo) as server:
        described = settings(kind="openai", base_url=server.url, api_key="${THE_KEY}")
        upstream = build_upstream("gpt", described, {"THE_KEY": "sk-1"})
        await ask(upstream, call())
        await upstream.aclose()
        assert upstream.name == "gpt"
        assert server.requests[0].headers["authorization"] == "Bearer sk-1"


def test_a_secret_that_is_not_set_is_named():
    described = settings(kind="openai", base_url="http://h", api_key="${NOT_SET}")
    with pytest.raises(ConfigurationError, match="NOT_SET"):
        build_upstream("gpt", described, {})
