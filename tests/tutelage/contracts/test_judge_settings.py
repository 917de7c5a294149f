"""A judge never serves an arm, whatever its upstream is called."""

from typing import Any

import pytest

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import validated
from tutelage.contracts.settings import Settings


def settings(judge: dict[str, Any], **upstreams: Any) -> Settings:
    def openai(name: str) -> dict[str, Any]:
        return {"kind": "openai", "base_url": f"http://{name}/v1", "model": name}

    document = {
        "upstreams": {name: openai(name) for name in ("gpt", "small", "claude", "mistral")} | upstreams,
        "routes": {"r": {"teacher": "gpt", "student": "small", "share": "10%", "judge": judge}},
    }
    return validated(document, "test")


def test_another_model_may_judge_and_another_may_stand_in():
    found = settings({"upstream": "claude", "fallback": "mistral", "both_orders": "50%"}).routes["r"].judge
    assert found is not None
    assert (found.upstream, found.fallback, found.both_orders) == ("claude", "mistral", 5_000)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"upstream": "gpt"}, "'gpt': it serves an arm: no self-judging"),
        ({"upstream": "small"}, "'small': it serves an arm"),
        ({"upstream": "claude", "fallback": "gpt"}, "judge.fallback 'gpt': it serves an arm"),
        ({"upstream": "disguised"}, "'disguised': the model of upstream 'gpt' serves an arm"),
        ({"upstream": "claude", "fallback": "claude"}, "fallback is the judge itself"),
        ({"upstream": "claude", "fallback": "clade"}, "judge.fallback names upstream 'clade'"),
    ],
)
def test_no_arm_judges(judge: dict[str, Any], message: str):
    disguised = {"kind": "vllm", "base_url": ["http://other/v1", "http://gpt/v1"], "model": "gpt"}
    with pytest.raises(ConfigurationError, match=message):
        settings(judge, disguised=disguised)


@pytest.mark.parametrize(
    "again",
    [
        {"kind": "openai", "base_url": "http://gpt/v1/"},
        {"kind": "openai", "base_url": "http://GPT:80/v1"},
        {"kind": "litellm", "model": "openai/gpt"},
    ],
    ids=["a slash", "spelled otherwise", "by its provider"],
)
def test_an_arm_is_known_however_its_place_is_spelled(again: dict[str, Any]):
    with pytest.raises(ConfigurationError, match="'again': the model of upstream 'gpt' serves an arm"):
        settings({"upstream": "again"}, again={"model": "gpt"} | again)


def test_two_models_of_one_provider_are_not_the_same():
    settings({"upstream": "large"}, large={"kind": "openai", "base_url": "http://gpt/v1", "model": "large"})
    named = {"kind": "litellm", "model": "anthropic/claude"}
    with pytest.raises(ConfigurationError, match="serves an arm"):
        settings({"upstream": "again"}, gpt=named, again=named)
