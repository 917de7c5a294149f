"""The field policy: what each kind of upstream gets, and what becomes of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.fields import TABLES, TRANSLATIONS, FieldPolicy, Rule, policy_of
from gateway.upstreams.base import CallRefused
from gateway.upstreams.litellm import ALLOWED
from gateway.wire import Fields, encode_fields, read_body
from router.types import Sampling
from tests.gateway.harness import running, until
from tests.gateway.model_server import ModelServer
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import validated
from tutelage.contracts.upstreams import TRANSLATED, UpstreamSettings

PATH = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
SCHEMA = {"type": "object"}
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


def policy(kind: str = "openai", **fields: str) -> FieldPolicy:
    settings: Any = {"kind": kind, "base_url": "http://x/v1", "model": "m", "fields": fields}
    return policy_of("up", UpstreamSettings(**settings))


def after(policy: FieldPolicy, **fields: Any) -> Any:
    """The fields as the upstream gets them."""
    sent: Fields = read_body(json.dumps({"model": "m", **fields}).encode()).fields
    if policy.concerns(sent):
        policy.apply(sent)
    left = json.loads(encode_fields(sent))
    del left["model"]
    return left


@pytest.mark.parametrize("kind", TABLES)
def test_what_no_table_names_passes(kind: str):
    fields = {"temperature": 0.5, "tools": [{"type": "function"}], "logit_bias": {"1": 2}, "of_tomorrow": [1]}
    assert after(policy(kind), **fields) == fields


def test_vllm_gets_all_of_its_own_and_a_provider_none():
    own = {name: 1 for name, rule in TABLES["openai"].items() if rule is Rule.DROP}
    assert len(own) > 20
    assert after(policy("vllm"), **own) == own
    assert after(policy("openai"), **own) == {}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"guided_json": SCHEMA}, {"response_format": RESPONSE_FORMAT}),
        ({"guided_json": json.dumps(SCHEMA)}, {"response_format": RESPONSE_FORMAT}),
        ({"structured_outputs": {"json": SCHEMA}}, {"response_format": RESPONSE_FORMAT}),
        ({"structured_outputs": {"json_object": True}}, {"response_format": {"type": "json_object"}}),
        ({"guided_json": SCHEMA, "response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
        ({"guided_json": None}, {}),
        ({"structured_outputs": {}}, {}),
    ],
)
def test_a_schema_is_said_in_the_providers_words(fields: dict[str, Any], sent: dict[str, Any]):
    assert after(policy(), **fields) == sent


@pytest.mark.parametrize(
    "fields",
    [
        {"guided_choice": ["a", "b"]},
        {"guided_regex": "a|b"},
        {"continue_final_message": True},
        {"structured_outputs": {"choice": ["a"]}},
        {"structured_outputs": 7},
        {"guided_json": "no schema"},
        {"guided_json": [1]},
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(fields: dict[str, Any]):
    (name,) = fields
    with pytest.raises(CallRefused, match=f"'{name}'.*fields.{name}"):
        after(policy(), **fields)


def test_what_asks_for_nothing_is_never_refused():
    assert after(policy(), continue_final_message=False, guided_choice=None) == {}


def test_the_settings_go_over_the_table():
    own = policy(top_k="pass", min_p="reject", user="drop", max_tokens="translate")
    assert after(own, top_k=1, user="u", max_tokens=7) == {"top_k": 1, "max_completion_tokens": 7}
    assert after(own, max_tokens=7, max_completion_tokens=8) == {"max_completion_tokens": 8}
    with pytest.raises(CallRefused, match="min_p"):
        after(own, min_p=0.1)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [({"top_k": "translate"}, "no translation"), ({"model": "drop"}, "fields.model"), ({"top_k": "keep"}, "top_k")],
)
def test_a_rule_that_cannot_be_kept_refuses_to_start(fields: dict[str, str], fault: str):
    upstream = {"kind": "openai", "base_url": "http://x/v1", "model": "m", "fields": fields}
    with pytest.raises(ConfigurationError, match=fault):
        validated({"upstreams": {"a": upstream}, "routes": {"r": {"teacher": "a"}}}, "test")


def test_settings_and_gateway_know_the_same_translations():
    assert set(TRANSLATIONS) == set(TRANSLATED)


def test_no_table_touches_what_litellm_translates_itself():
    assert ALLOWED.isdisjoint(TABLES["litellm"])


# --- end to end -------------------------------------------------------------------------------------------------------


async def test_each_arm_gets_the_fields_that_it_understands_and_both_were_asked_the_same(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    sampling = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)
    asked = {**ASK, "top_k": 9007199254740993, "guided_json": SCHEMA}
    async with running(teacher, student, tmp_path, share_bp=10_000, sampling=sampling) as at:
        await at.http().post(PATH, json=asked)
        await until(lambda: bool(at.shadows()))
        (shadow,), exchange = at.shadows(), await at.exchange()
        counts = (await at.http(None).get(f"http://127.0.0.1:{at.gateway.own_port}/metrics")).text
    assert student.asked[0].json == {**asked, "model": "small-1"}
    assert teacher.asked[0].json == {**ASK, "model": "big-1", "response_format": RESPONSE_FORMAT}
    assert shadow.params_hash == exchange.params_hash
    assert shadow.attempt is not None
    assert (exchange.attempts[0].left_out, shadow.attempt.left_out) == ((), ("top_k", "guided_json"))
    for field, rule in (("top_k", "drop"), ("guided_json", "translate")):
        assert f'tutelage_gateway_fields_total{{field="{field}",rule="{rule}",upstream="big"}} 1.0' in counts


async def test_a_refused_field_is_the_clients_error_and_costs_no_call(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, "guided_regex": "a"})
        exchange = await at.exchange()
        fine = await at.http().post(PATH, json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert "guided_regex" in answer.json()["error"]["message"]
    assert (exchange.outcome, exchange.cause) == ("client_error", "refused")
    assert fine.status_code == 200
    assert len(teacher.asked) == 1


async def test_a_shadow_that_its_arm_refuses_is_accounted_for(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    sampling = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)
    async with running(teacher, student, tmp_path, share_bp=10_000, sampling=sampling) as at:
        await at.http().post(PATH, json={**ASK, "guided_regex": "a"})
        await until(lambda: bool(at.shadows()))
        (shadow,) = at.shadows()
    assert shadow.attempt is not None
    assert (shadow.attempt.arm, shadow.attempt.error, shadow.lost) == ("teacher", "refused", None)
    assert teacher.asked == []


async def test_steering_fields_steer_nothing(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    """They reach an upstream that ignores them as the strings they are; litellm's own refusal of them is tested beside it."""
    steering = {
        "api_base": "http://127.0.0.1:1",
        "base_url": "http://127.0.0.1:1",
        "api_key": "stolen",
        "fallbacks": ["other"],
        "mock_response": "mocked",
        "extra_headers": {"authorization": "Bearer stolen", "x-evil": "1"},
        "aws_access_key_id": "stolen",
        "callbacks": ["evil"],
    }
    async with running(teacher, student, tmp_path) as at:
        answer = await at.http().post(PATH, json={**ASK, **steering})
    assert answer.json()["choices"][0]["message"]["content"] == "I am teacher"
    assert not {"authorization", "x-evil"} & set(teacher.asked[0].headers)
