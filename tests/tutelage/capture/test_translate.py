import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from examples.sections.task import canonical as task_canonical
from examples.sections.task import chat_request
from examples.sections.task import input_sha256 as task_input_sha256
from gateway.redact import Redactor
from router.types import Arm
from tests.tutelage.capture.raws import AT, CHAT, FULL, JSON, SSE, attempt, chat_body, exchange, settings, shadow, sse
from tutelage.capture.asked import canonical, input_sha256, params_hash, read_asked
from tutelage.capture.raw import RawPolicy
from tutelage.capture.spooled import read_spooled
from tutelage.capture.translate import Context, capture_exchange, capture_feedback, capture_shadow
from tutelage.capture.translate import said as bytes_of
from tutelage.contracts.prices import PriceList
from tutelage.contracts.pseudonyms import Pseudonyms
from tutelage.contracts.records import Feedback, Usage, encode

PSEUDONYMS = Pseudonyms(bytes(range(32)))
BOTH = frozenset({"secrets", "contact"})


@pytest.fixture
def context(tmp_path):
    prices = PriceList(settings(tmp_path).upstreams)
    return Context(gateway="gw", pseudonyms=PSEUDONYMS, redact=Redactor(PSEUDONYMS).redact, price=prices.price)


def body_of(**fields):
    return json.dumps({"model": "m", **fields}).encode()


def said(*texts, **fields):
    return body_of(messages=[{"role": "user", "content": text} for text in texts], **fields)


def hash_of(body):
    return params_hash(body, read_asked(body))


def taken(raw, context):
    record = capture_exchange(raw, 1, context).record
    assert read_spooled(encode(record)) == record
    return record


# --- the bytes that tell whether there is anything to redact ------------------------------------------------------------


def test_what_is_written_as_it_stands_can_be_looked_through_before_it_is_translated():
    policy = replace(FULL, redact=BOTH)
    raw = exchange(attempt(b"{}"), attempt([b'{"a":', b"1}"]), policy=policy)
    assert bytes_of(raw) == CHAT + b'\n{}\n{"a":1}'
    assert bytes_of(shadow(attempt(b"{}"), policy=policy)) == CHAT + b"\n{}"
    assert bytes_of(exchange()) == b""
    assert bytes_of(exchange(policy=replace(policy, log="metadata"))) == b""


def test_what_is_put_together_first_cannot():
    policy = replace(FULL, redact=BOTH)
    assert bytes_of(exchange(attempt(sse([{"choices": []}]), headers=SSE), policy=policy)) is None
    assert bytes_of(exchange(policy=policy, endpoint="responses")) is None
    assert bytes_of(Feedback(id="f", exchange_id="e", tenant="acme", type="comment", value="hi", at=AT)) is None


# --- the request ------------------------------------------------------------------------------------------------------


def test_the_request_is_kept_without_its_model_and_with_pseudonyms_for_people(context):
    record = taken(exchange(body=said("hi", user="bob", temperature=0.5)), context)
    assert record.request["temperature"] == 0.5
    assert "model" not in record.request
    assert record.subject == record.request["user"] != "bob"
    assert record.conversation == PSEUDONYMS.of("conversation", "sticky")


def test_a_subject_is_the_same_over_requests_and_other_for_others(context):
    subjects = [taken(exchange(body=said("hi", user=user)), context).subject for user in ("bob", "bob", "eve")]
    assert subjects[0] == subjects[1] != subjects[2]
    assert taken(exchange(body=said("hi")), context).subject is None


def test_plan_policy_and_clocks_travel_as_they_are(context):
    raw = exchange(policy=replace(FULL, redact=BOTH, train=False), slices={"lang": "de"})
    record = taken(raw, context)
    assert (record.plan.shadow, record.plan.shadow_bp) == (Arm.STUDENT, 10_000)
    assert (record.policy.log, record.policy.train, record.policy.purpose) == ("full", False, "tests")
    assert record.policy.redaction_version == "1:contact+secrets"
    assert (record.admitted_at, record.ended_ms, record.overhead_ms) == (AT, 101.0, 0.4)
    assert record.slices == {"lang": "de"}


def test_metadata_rows_hold_what_it_cost_and_nothing_that_was_said(context):
    record = taken(exchange(policy=RawPolicy(log="metadata", train=False, purpose=None)), context)
    assert (record.request, record.input_hash, record.attempts[0].answer) == (None, None, None)
    assert record.attempts[0].usage == Usage(prompt=10, completion=5)
    assert record.attempts[0].cost_nusd is not None


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_inputs_are_known_by_the_same_hash_as_in_the_tasks_files(text):
    assert canonical(text) == task_canonical(text)
    assert input_sha256(text) == task_input_sha256(text)


def test_the_input_is_the_last_user_message_before_redaction(context):
    text = "  write to bob@example.com e\u0301 "
    request = chat_request(text, model="m")
    record = taken(exchange(body=json.dumps(request).encode(), policy=replace(FULL, redact=BOTH)), context)
    assert record.input_hash == task_input_sha256(text)
    assert "bob@" not in str(record.request)


def test_text_parts_are_one_input(context):
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "b"},
    ]
    assert taken(exchange(body=said(parts)), context).input_hash == input_sha256("ab")


def test_turns_are_counted_by_users_messages(context):
    assert taken(exchange(body=said("a", "b", "c")), context).turn == 3
    assert taken(exchange(body=body_of(input="hi"), endpoint="responses"), context).turn == 1
    assert taken(exchange(body=body_of(prompt="hi"), endpoint="completions"), context).turn == 1
    assert taken(exchange(body=body_of(prompt=["hi", "ho"]), endpoint="completions"), context).turn is None


@pytest.mark.parametrize("asked", [{"prompt": "hi"}, {"prompt": ["hi"]}, {"input": "hi"}])
def test_a_prompt_by_itself_is_the_input(context, asked):
    assert taken(exchange(body=body_of(**asked)), context).input_hash == input_sha256("hi")


def test_the_parameters_hash_ignores_what_changes_no_answer():
    same = [
        said("hi", temperature=0),
        said("hi", temperature=0, user="bob", metadata={"a": "b"}, stream=True, stream_options={"include_usage": True}),
        json.dumps(dict(reversed(json.loads(said("hi", temperature=0, store=True)).items())), indent=2).encode(),
        said("hi", temperature=0).replace(b'"m"', b'"other"'),
    ]
    assert len({hash_of(body) for body in same}) == 1
    others = [said("hi"), said("hi", temperature=1), said("ho", temperature=0), b"not json", b""]
    assert len({hash_of(body) for body in [same[0], *others]}) == 6


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_an_attempt_holds_answer_usage_price_and_the_upstreams_names(context):
    found = taken(exchange(), context).attempts[0]
    assert found.answer.text == "I am a model."
    assert (found.upstream_request_id, found.fingerprint) == ("req-1", "fp_1")
    assert (found.status, found.error, found.broke) == (200, None, False)
    assert (found.first_token_ms, found.total_ms, found.started) == (12.5, 100.0, AT)
    assert found.cost_nusd == 10 * 2_000 + 5 * 8_000
    assert found.price_version.startswith("litellm-")


@pytest.mark.parametrize(
    ("changes", "error", "broke"),
    [
        ({"status": 429, "chunks": [b'{"error":{}}']}, "status_429", False),
        ({"status": 503, "error": "timeout_total"}, "timeout_total", False),
        ({"status": None, "error": "connect", "chunks": []}, "connect", False),
        ({"chunks": [b"<html>"]}, "malformed", False),
        ({"chunks": [sse([{"choices": [{"delta": {"content": "x"}}]}], end="")], "headers": SSE}, "truncated", True),
        ({"chunks": [b"data: "], "headers": SSE, "error": "broken", "broke": True}, "broken", True),
        ({"chunks": [], "overflow": True}, "too_large", False),
    ],
)
def test_what_went_wrong_has_one_class(context, changes, error, broke):
    found = taken(exchange(attempt(**changes)), context).attempts[0]
    assert (found.error, found.broke) == (error, broke)


def test_a_stream_that_we_cut_is_not_the_upstreams_fault(context):
    half = attempt([sse([{"choices": [{"delta": {"content": "half"}}]}], end="")], headers=SSE)
    found = taken(exchange(half, client_gone=True, outcome="client_cancelled"), context).attempts[0]
    assert (found.error, found.broke, found.answer.text) == (None, False, "half")


def test_every_attempt_is_kept_and_the_serving_ones_headers(context):
    failed = attempt(status=500, arm=Arm.STUDENT, headers=((b"retry-after", b"9"),))
    kept = (*JSON, (b"openai-processing-ms", b"7"), (b"x-ratelimit-remaining-tokens", b"1"), (b"set-cookie", b"no"))
    record = taken(exchange(failed, attempt(headers=kept, purpose="fallback")), context)
    assert [item.error for item in record.attempts] == ["status_500", None]
    assert set(record.response_headers) == {
        "content-type", "x-request-id", "openai-processing-ms", "x-ratelimit-remaining-tokens",
    }  # fmt: skip


def test_any_chunking_of_a_reply_is_the_same_record(context):
    body = sse([{"choices": [{"index": 0, "delta": {"content": "日本語"}, "finish_reason": "stop"}]}])
    raw = exchange(attempt([body], headers=SSE))
    bytewise = replace(raw, attempts=[attempt([bytes([byte]) for byte in body], headers=SSE)])
    assert taken(raw, context) == taken(bytewise, context)


def test_one_value_has_one_placeholder_in_the_request_and_in_both_answers(context):
    policy = replace(FULL, redact=BOTH)
    raw = exchange(attempt(chat_body("Hi bob@example.com")), body=said("I am bob@example.com"), policy=policy)
    other = shadow(attempt(chat_body("Hello bob@example.com")), policy=policy)
    served, asked = taken(raw, context), capture_shadow(other, context).record.attempt
    assert asked is not None
    assert asked.answer is not None
    assert asked.answer.text is not None
    tokens = {
        served.request["messages"][0]["content"].split()[-1],
        served.attempts[0].answer.text.split()[-1],
        served.attempts[0].answer.choices[0]["content"].split()[-1],
        asked.answer.text.split()[-1],
    }
    assert len(tokens) == 1
    assert tokens.pop().startswith("<email:")


def test_tool_calls_are_redacted_and_logprobs_go_with_a_find(context):
    arguments = json.dumps({"to": "bob@example.com"})
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = json.loads(chat_body(None, tool_calls=[call]))
    body["choices"][0]["logprobs"] = {"content": [{"token": "bob"}, {"token": "@"}, {"token": "example.com"}]}
    raw = exchange(attempt(json.dumps(body).encode()), policy=replace(FULL, redact=BOTH))
    record = taken(raw, context)
    assert b"example.com" not in encode(record)
    assert record.attempts[0].answer.logprobs is None
    assert record.attempts[0].answer.tool_calls[0]["function"]["arguments"].startswith('{"to": "<email:')
    clean = taken(replace(raw, policy=FULL), context)
    assert len(clean.attempts[0].answer.logprobs["content"]) == 3


# --- shadows and feedback ---------------------------------------------------------------------------------------------


def test_a_shadow_call_is_kept_with_the_hash_of_what_was_asked(context):
    captured = capture_shadow(shadow(attempt(arm=Arm.STUDENT, purpose="shadow")), context)
    assert captured.lost is None
    assert captured.record.attempt is not None
    assert captured.record.attempt.answer is not None
    assert captured.record.attempt.answer.text == "I am a model."
    assert captured.record.params_hash == hash_of(CHAT)
    assert captured.record.lost is None


def test_a_shadow_call_that_was_not_made_says_why_and_loses_nothing(context):
    captured = capture_shadow(shadow(None, lost="shutdown"), context)
    assert (captured.record.attempt, captured.record.lost, captured.lost) == (None, "shutdown", None)


def test_feedback_is_redacted_whatever_the_route_says(context):
    said_of = Feedback(id="f", exchange_id="e", tenant="t", type="comment", value="I am bob@example.com", at=AT)
    captured = capture_feedback(said_of, context)
    assert captured.record.value.startswith("I am <email:")


def test_a_hash_is_of_the_canonical_json(context):
    body = '{"model":"m","b":1,"a":"é"}'.encode()
    assert hash_of(body) == hashlib.sha256('{"a":"é","b":1}'.encode()).hexdigest()
