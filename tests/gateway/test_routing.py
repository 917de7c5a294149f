"""What a snapshot means: names, shares, who sees which route."""

from pathlib import Path
from typing import Any

import pytest

from gateway.routing import Routing, routing_of
from gateway.snapshots import snapshot_of
from router.rollout import Rollout, Successor
from tests.gateway.harness import KEYS, document, replace_snapshot, rollout
from tutelage.contracts.load import validated
from tutelage.contracts.parts import with_parts


def routing(
    tmp_path: Path, rollouts: dict[str, Rollout] | None = None, kills: tuple[str, ...] = (), **content: Any
) -> Routing:
    settings = validated(document("http://a/v1", "http://b/v1", tmp_path, match=["exact", "gpt-4*"]) | content, "test")
    snapshot = replace_snapshot(snapshot_of(settings, KEYS), rollouts=rollouts or {})
    return routing_of(snapshot, settings, frozenset(kills), "store")


def name(found: Any) -> str | None:
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("model", "role", "expected"),
    [
        ("chat", "data", "chat"),
        ("exact", "data", "chat"),
        ("gpt-4.1-mini", "data", "chat"),
        ("solo", "data", "solo"),
        ("GPT-4", "data", None),
        ("judge:big", "data", None),
        ("judge:big", "internal", "judge:big"),
        ("judge:none", "internal", None),
    ],
)
def test_a_model_name_finds_its_route(model: str, role: str, expected: str | None, tmp_path: Path):
    assert name(routing(tmp_path).find(model, role)) == expected


def test_the_default_takes_the_rest_but_never_a_judges_name(tmp_path: Path):
    found = routing(tmp_path, default_upstream="big")
    assert name(found.find("anything", "data")) == "default"
    assert found.find("judge:big", "data") is None


def test_a_route_without_a_rollout_is_the_teachers(tmp_path: Path):
    assert routing(tmp_path).exact["chat"].state.share_bp == 0


@pytest.mark.parametrize(
    ("state", "kills", "share_bp"),
    [
        (rollout(2_500), (), 2_500),
        (rollout(2_500, killed=True), (), 0),
        (rollout(2_500), ("chat",), 0),
        (rollout(2_500), ("solo",), 2_500),
    ],
)
def test_the_share_in_force(state: Rollout, kills: tuple[str, ...], share_bp: int, tmp_path: Path):
    route = routing(tmp_path, {"chat": state}, kills).exact["chat"]
    assert (route.state.share_bp, route.state.salt, route.epoch) == (share_bp, "salt", "e1")


def test_the_student_that_the_rollout_knows_serves_while_its_successor_is_asked_beside(tmp_path: Path):
    upstreams = document("http://a/v1", "http://b/v1", tmp_path)["upstreams"]
    upstreams["next"] = {**upstreams["small"], "version": "s2", "base_url": "http://c/v1", "can": {}}
    routes = {"chat": {"teacher": "big", "student": "next", "share": "50%"}}
    heir = Successor(student="next@s2", epoch="e2", since=4)
    route = routing(tmp_path, {"chat": rollout(2_500, successor=heir)}, upstreams=upstreams, routes=routes).exact[
        "chat"
    ]
    assert route.student is not None
    assert route.successor is not None
    assert (route.state.student, route.student.version, route.successor.upstream) == ("small", "s1", "next")
    assert route.state.can.tools
    sent_away = routing(tmp_path, {"chat": rollout(2_500)}, upstreams=upstreams, routes=routes).exact["chat"]
    assert (sent_away.state.student, sent_away.successor) == ("small", None)
    taken_over = routing(tmp_path, {"chat": rollout(2_500, student="next@s2")}, upstreams=upstreams, routes=routes)
    assert (taken_over.exact["chat"].state.student, taken_over.exact["chat"].successor) == ("next", None)


def test_judges_have_neither_student_nor_fallback_nor_capture(tmp_path: Path):
    judge = routing(tmp_path).judges["judge:small"]
    assert (judge.student, str(judge.state.fallback), judge.captured, judge.usage_injected) == (
        None,
        "none",
        False,
        False,
    )


def test_only_live_data_and_internal_keys_open_the_data_plane(tmp_path: Path):
    assert {key.id for key in routing(tmp_path).keys.values()} == {
        "id-tut-data",
        "id-tut-pinner",
        "id-tut-internal",
        "id-tut-private",
        "id-tut-own-only",
    }


# --- parts ------------------------------------------------------------------------------------------------------------


def carved(tmp_path: Path, rollouts: dict[str, Rollout], kills: tuple[str, ...] = ()) -> Routing:
    """The route `chat` of which `gold` and `basic` climb apart."""
    route: dict[str, Any] = {
        "teacher": "big",
        "student": "small",
        "capture": {"content": "full", "purpose": "tests"},
        "slices": {"routing": ["header:x-tutelage-slice"]},
        "rollout": {
            "mode": "observe",
            "gates": {"carve_outs": {"slice": "slice", "weights": {"gold": 0.3, "basic": 0.3}}},
        },
    }
    written = document("http://a/v1", "http://b/v1", tmp_path) | {"routes": {"chat": route, "solo": {"teacher": "big"}}}
    settings = with_parts(validated(written, "test"))
    snapshot = replace_snapshot(snapshot_of(settings, KEYS), rollouts=rollouts)
    return routing_of(snapshot, settings, frozenset(kills), "store")


CLIMBED = {
    "chat": rollout(100),
    "chat:gold": rollout(9_000, salt="g", revision=7, epoch="e2"),
    "chat:basic": rollout(0),
}


@pytest.mark.parametrize(
    ("slices", "part", "share_bp"),
    [
        ({"slice": "gold"}, "chat:gold", 9_000),
        ({"slice": "basic"}, "chat:basic", 0),
        ({"slice": "nobody knows"}, "chat", 100),
        ({"slice": "chat"}, "chat", 100),
        ({"other": "gold"}, "chat", 100),
        ({}, "chat", 100),
    ],
)
def test_a_request_is_in_the_part_of_its_value_or_in_the_rest(
    slices: dict[str, str], part: str, share_bp: int, tmp_path: Path
):
    found = carved(tmp_path, CLIMBED).exact["chat"].part(slices)
    assert (found.name, found.state.share_bp) == (part, share_bp)


def test_a_part_has_the_salt_revision_and_epoch_of_its_own_rollout(tmp_path: Path):
    gold = carved(tmp_path, CLIMBED).exact["chat"].part({"slice": "gold"})
    assert (gold.state.salt, gold.state.revision, gold.epoch) == ("g", 7, "e2")


def test_clients_cannot_name_a_part(tmp_path: Path):
    found = carved(tmp_path, CLIMBED)
    assert [route.name for route in found.routes] == ["chat", "solo"]
    assert found.find("chat:gold", "data") is None


@pytest.mark.parametrize(
    ("kills", "shares_bp"),
    [((), (100, 9_000)), (("chat",), (0, 0)), (("chat:gold",), (100, 0)), (("solo",), (100, 9_000))],
)
def test_a_kill_file_of_a_route_is_for_all_of_its_parts(
    kills: tuple[str, ...], shares_bp: tuple[int, int], tmp_path: Path
):
    chat = carved(tmp_path, CLIMBED, kills).exact["chat"]
    assert (chat.state.share_bp, chat.part({"slice": "gold"}).state.share_bp) == shares_bp


def test_a_part_without_a_rollout_is_the_teachers(tmp_path: Path):
    chat = carved(tmp_path, {"chat": rollout(9_000)}).exact["chat"]
    assert chat.part({"slice": "gold"}).state.share_bp == 0
