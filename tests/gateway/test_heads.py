"""What is remembered of heads: only what the same lines mean again, under the same routing, and never more than the bound."""

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Unauthorized
from gateway.heads import MAX_HEAD_BYTES, MAX_HEADS, MAX_MODELS, Heads
from gateway.routing import Routing, routing_of
from gateway.snapshots import snapshot_of
from gateway.terms import terms_of
from gateway.upstreams.base import Headers
from tests.gateway.harness import KEY, KEYS, PRIVATE, document, key, running, until
from tests.gateway.model_server import ModelServer
from tutelage.contracts.load import validated

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


def heads(tmp_path: Path, **route: Any) -> Heads:
    return Heads(routing(tmp_path, **route))


def routing(tmp_path: Path, **route: Any) -> Routing:
    settings = validated(document("http://a/v1", "http://b/v1", tmp_path, **route), "test")
    return routing_of(snapshot_of(settings, KEYS), settings, frozenset(), "store")


def lines(*more: tuple[bytes, bytes], api_key: str = KEY) -> Headers:
    return [(b"host", b"here"), (b"authorization", b"Bearer " + api_key.encode()), (b"user-agent", b"a"), *more]


def own(known: Heads, headers: Headers) -> Headers:
    return known.of(headers).own(headers, dict(headers))


# --- what is the same -------------------------------------------------------------------------------------------------


def test_the_same_lines_are_read_once_whatever_a_request_calls_itself(tmp_path: Path):
    known = heads(tmp_path, stickiness=["header:x-user"])
    first = known.of(lines((b"content-length", b"1"), (b"x-request-id", b"r1"), (b"x-user", b"u1")))
    assert first.key.id == f"id-{KEY}"
    assert known.of(lines((b"content-length", b"22"), (b"x-request-id", b"r2"), (b"x-user", b"u2"))) is first
    assert known.of(lines((b"traceparent", b"00-1-1-01"), (b"x-tutelage-session", b"s"))) is first


@pytest.mark.parametrize(
    "line",
    [
        (b"authorization", b"Bearer x"),
        (b"connection", b"user-agent"),
        (b"content-type", b"text/plain"),
        (b"openai-project", b"p"),
        (b"x-anything", b"1"),
        (b"x-tutelage-arm", b"student"),
        (b"x-tutelage-log", b"off"),
        (b"x-tutelage-train", b"deny"),
        (b"x-user", b"u"),
    ],
)
def test_a_line_that_means_something_makes_another_head(line: tuple[bytes, bytes], tmp_path: Path):
    """Also where a route knows its users by it, and where it names a slice too."""
    sources = [f"header:{line[0].decode()}"]
    known = heads(tmp_path, stickiness=sources, slices={"routing": ["header:x-user", "header:x-anything"]})
    before = known.of(lines())
    try:
        assert known.of(lines(line)) is not before
    except Unauthorized:
        assert line[0] == b"authorization"  # two of them


def test_who_is_known_by_the_key_itself_is_still_asked_for_it(tmp_path: Path):
    known = heads(tmp_path, stickiness=["header:authorization"])
    assert known.of(lines()).key.id == f"id-{KEY}"
    assert known.of(lines(api_key=PRIVATE)).key.id == f"id-{PRIVATE}"
    with pytest.raises(Unauthorized):
        known.of(lines(api_key="tut-nobody"))


def test_a_slice_that_also_names_users_is_read_anew(tmp_path: Path):
    known = heads(tmp_path, stickiness=["header:x-plan"], slices={"routing": ["header:x-plan"]})
    route = known.routing.exact["chat"]
    found = [known.of(lines((b"x-plan", plan))) for plan in (b"gold", b"tin")]
    assert [terms_of(head.headers, head.key, route).slices for head in found] == [{"x-plan": "gold"}, {"x-plan": "tin"}]
    assert all(b"x-plan" not in head.as_json for head in found)
    assert own(known, lines((b"x-plan", b"tin"))) == [(b"x-plan", b"tin")]


# --- what goes up -----------------------------------------------------------------------------------------------------


def test_a_requests_own_lines_go_up_with_it_alone(tmp_path: Path):
    known = heads(tmp_path)
    first, second = lines((b"traceparent", b"t1"), (b"x-request-id", b"r")), lines((b"idempotency-key", b"i2"))
    assert known.of(first) is known.of(second)
    assert (
        known.of(first).as_json == b"user-agent: a\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
    )
    assert own(known, first) == [(b"traceparent", b"t1")]
    assert own(known, second) == [(b"idempotency-key", b"i2")]
    assert own(known, lines((b"content-length", b"7"), (b"x-tutelage-session", b"s"))) == ()


def test_a_body_of_any_kind_keeps_its_type(tmp_path: Path):
    head = heads(tmp_path).of(lines((b"content-type", b"audio/wav"), (b"openai-project", b"p")))
    assert head.as_it_came == b"user-agent: a\r\ncontent-type: audio/wav\r\naccept-encoding: identity\r\n"
    assert head.account == [(b"openai-project", b"p")]


def test_what_connection_names_goes_no_further(tmp_path: Path):
    known = heads(tmp_path)
    headers = lines((b"connection", b"keep-alive, User-Agent, traceparent"), (b"traceparent", b"t"), (b"x-a", b"1"))
    assert known.of(headers).as_it_came == b"x-a: 1\r\naccept-encoding: identity\r\n"
    assert own(known, headers) == []


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_no_more_heads_are_remembered_than_the_bound(tmp_path: Path):
    known = heads(tmp_path)
    first = known.of(lines())
    for number in range(MAX_HEADS - 1):
        known.of(lines((b"x-a", b"%d" % number)))
    assert len(known) == MAX_HEADS
    assert known.of(lines()) is first
    last = known.of(lines((b"x-a", b"more")))
    assert len(known) == MAX_HEADS
    assert known.of(lines((b"x-a", b"more"))) is last
    assert known.of(lines()) is not first


def test_what_is_long_or_refused_is_not_remembered(tmp_path: Path):
    known = heads(tmp_path)
    long = lines((b"x-a", b"a" * MAX_HEAD_BYTES))
    assert known.of(long).key.id == f"id-{KEY}"
    with pytest.raises(Unauthorized):
        known.of(lines(api_key="tut-revoked"))
    assert len(known) == 0


def test_the_models_that_one_head_has_asked_for_are_bounded(tmp_path: Path):
    known = heads(tmp_path)
    head, route = known.of(lines()), known.routing.exact["chat"]
    for number in range(2 * MAX_MODELS):
        head.remember(f"m{number}", terms_of(head.headers, head.key, route))
    assert len(head.terms) == MAX_MODELS


# --- the same lines again, on one connection --------------------------------------------------------------------------


async def test_a_key_that_is_revoked_is_refused_with_the_next_request(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        client = at.http()
        assert [(await client.post(PATH, json=ASK)).status_code for _ in range(2)] == [200, 200]
        await at.publish(keys=(key(PRIVATE), key(KEY, revoked_at=1.0)))
        assert (await client.post(PATH, json=ASK)).status_code == 401
        await at.publish(keys=KEYS)
        assert (await client.post(PATH, json=ASK)).status_code == 200


async def test_a_head_that_asks_for_less_is_obeyed_at_once(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        client = at.http()
        for headers in ({}, {"x-tutelage-log": "metadata"}, {}, {"x-tutelage-train": "deny"}, {}):
            assert (await client.post(PATH, json=ASK, headers=headers)).status_code == 200
        await until(lambda: len(at.exchanges()) == 5)
        kept = [(exchange.policy.log, exchange.policy.train) for exchange in at.exchanges()]
        assert (await client.post(PATH, json=ASK, headers={"x-tutelage-log": "some"})).status_code == 400
        assert (await client.post(PATH, json=ASK, headers={"x-tutelage-arm": "teacher"})).status_code == 403
        assert (await client.post(PATH, json=ASK)).status_code == 200
    assert kept == [("full", True), ("metadata", True), ("full", True), ("full", False), ("full", True)]


async def test_one_head_asks_for_several_models_and_for_those_that_are_none(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        client = at.http()
        asked = [
            await client.post(PATH, json={**ASK, "model": model}) for model in ("chat", "solo", "no", "chat", "no")
        ]
        await until(lambda: len(at.exchanges()) == 3)
    assert [answer.status_code for answer in asked] == [200, 200, 404, 200, 404]
    assert [exchange.route for exchange in at.exchanges()] == ["chat", "solo", "chat"]


async def test_a_route_that_moves_is_obeyed_by_the_next_request(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        client = at.http()
        arms = [(await client.post(PATH, json=ASK)).headers["x-tutelage-arm"]]
        for share_bp in (10_000, 0):
            await at.share(share_bp)
            arms.append((await client.post(PATH, json=ASK)).headers["x-tutelage-arm"])
    assert arms == ["teacher", "student", "teacher"]


async def test_traces_and_names_of_requests_are_never_anothers(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        client = at.http()
        for headers in ({"traceparent": "t1", "x-request-id": "r1"}, {"idempotency-key": "i2"}, {"traceparent": "t3"}):
            await client.post(PATH, json=ASK, headers=headers)
    told = ("traceparent", "idempotency-key")
    assert [[asked.headers.get(name) for name in told] for asked in teacher.asked] == [
        ["t1", None],
        [None, "i2"],
        ["t3", None],
    ]
    names = [asked.headers["x-request-id"] for asked in teacher.asked]
    assert names[0] == "r1"
    assert len(set(names)) == 3
