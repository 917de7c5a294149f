"""The admin plane over a real store: what scripts rely on."""

from typing import Any

import httpx
import pytest

from tests.tutelage.control.conftest import Site
from tests.tutelage.control.made import ROUTE, exchange, shadow
from tests.tutelage.control.spooling import spool

pytestmark = pytest.mark.anyio
AT = f"/admin/routes/{ROUTE}"


def fault(reply: httpx.Response) -> dict[str, Any]:
    """The error of a reply, which is always the whole envelope."""
    document = reply.json()
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = document["error"]
    return error


async def revision(admin: httpx.AsyncClient) -> int:
    return int((await admin.get(AT)).json()["revision"])


async def act(admin: httpx.AsyncClient, verb: str, expected: int | str | None = None) -> httpx.Response:
    headers = {} if expected is None else {"if-match": str(expected)}
    return await admin.post(f"{AT}/{verb}", json={"reason": "a test"}, headers=headers)


async def test_a_route_shows_where_its_rollout_stands(admin: httpx.AsyncClient):
    shown = (await admin.get(AT)).json()
    assert shown["route"] == ROUTE
    assert shown["teacher"] == {"upstream": "gpt", "version": "t1", "training_use": "denied"}
    assert shown["student"] == {"upstream": "small", "version": "v1", "training_use": "unknown"}
    assert (shown["phase"], shown["share_bp"], shown["share_in_force_bp"], shown["rung"]) == ("SHADOW", 0, 0, 0)
    assert shown["stages"] == [0, 1000, 9000]
    assert shown["holds"] == []
    assert shown["queue"] == {"waiting": 0, "scored": 0, "oldest_s": None}
    assert shown["exclusions"] == {}
    listed = (await admin.get("/admin/routes")).json()["routes"]
    assert [route["route"] for route in listed] == [ROUTE]


async def test_a_share_is_set_by_hand_and_resume_returns_to_the_ladder(admin: httpx.AsyncClient):
    seen = await revision(admin)
    reply = await admin.put(
        f"{AT}/share", json={"student_bp": 2500, "reason": "why"}, headers={"if-match": f'"{seen}"'}
    )
    assert reply.status_code == 200
    assert (reply.json()["phase"], reply.json()["share_bp"], reply.json()["revision"]) == ("MANUAL", 2500, seen + 1)
    resumed = (await act(admin, "resume", seen + 1)).json()
    assert (resumed["phase"], resumed["share_bp"]) == ("RAMPING", 1000)


async def test_verbs_move_the_rollout_and_stand_in_its_history(admin: httpx.AsyncClient):
    assert (await act(admin, "pause", await revision(admin))).json()["phase"] == "HELD"
    assert (await act(admin, "resume", await revision(admin))).json()["phase"] == "SHADOW"
    promoted = (await act(admin, "promote", await revision(admin))).json()
    assert (promoted["phase"], promoted["share_bp"]) == ("RAMPING", 1000)
    assert promoted["waived_by"] is not None
    back = (await act(admin, "rollback", await revision(admin))).json()
    assert (back["phase"], back["share_bp"]) == ("ROLLED_BACK", 0)
    again = (await act(admin, "resume", await revision(admin))).json()
    assert (again["phase"], again["attempt"]) == ("SHADOW", 2)
    decisions = (await admin.get(f"{AT}/history")).json()["decisions"]
    events = [decision["event"] for decision in decisions if decision["actor"] not in ("controller", "configuration")]
    assert events == ["Resume", "Rollback", "Promote", "Resume", "Pause"]
    assert all(decision["reason"] == "a test" for decision in decisions if decision["event"] == "Promote")


async def test_kill_and_clear_need_no_revision(admin: httpx.AsyncClient):
    await admin.put(f"{AT}/share", json={"student_bp": 500}, headers={"if-match": str(await revision(admin))})
    killed = (await act(admin, "kill")).json()
    assert (killed["share_bp"], killed["share_in_force_bp"], killed["killed"]) == (500, 0, True)
    assert (await act(admin, "clear")).json()["share_in_force_bp"] == 500
    assert (await act(admin, "clear")).status_code == 409


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "rollback"])
async def test_a_move_says_which_revision_it_has_seen(admin: httpx.AsyncClient, verb: str):
    missing = await act(admin, verb)
    assert (missing.status_code, fault(missing)["code"]) == (428, "revision_required")
    stale = await act(admin, verb, 1)
    assert (stale.status_code, fault(stale)["code"]) == (412, "stale_revision")
    wrong = await act(admin, verb, "x")
    assert (wrong.status_code, fault(wrong)["code"]) == (400, "bad_revision")


async def test_a_share_without_a_revision_is_refused(admin: httpx.AsyncClient):
    assert (await admin.put(f"{AT}/share", json={"student_bp": 1})).status_code == 428


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"student_bp": 10_001}, "student_bp"),
        ({"student_bp": -1}, "student_bp"),
        ({"student_bp": "many"}, "student_bp"),
        ({}, "student_bp"),
        ({"student_bp": 1, "shade": 1}, "shade"),
    ],
)
async def test_a_share_that_does_not_fit_names_its_field(admin: httpx.AsyncClient, body: dict[str, Any], param: str):
    reply = await admin.put(f"{AT}/share", json=body, headers={"if-match": "1"})
    assert (reply.status_code, fault(reply)["param"]) == (400, param)


async def test_what_does_not_apply_is_a_conflict(admin: httpx.AsyncClient):
    await act(admin, "pause", await revision(admin))
    reply = await act(admin, "pause", await revision(admin))
    assert (reply.status_code, fault(reply)["code"]) == (409, "illegal_transition")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/routes/nope"),
        ("GET", "/admin/routes/nope/gates"),
        ("GET", "/admin/routes/nope/history"),
        ("GET", "/admin/pairs?route=nope"),
        ("POST", "/admin/routes/nope/kill"),
    ],
)
async def test_an_unknown_route_is_told_what_there_is(admin: httpx.AsyncClient, method: str, path: str):
    reply = await admin.request(method, path)
    assert reply.status_code == 404
    assert ROUTE in fault(reply)["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", AT, 405),
        ("POST", f"{AT}/dance", 404),
        ("GET", "/admin/pairs/nope", 404),
        ("GET", "/admin/pairs", 400),
        ("DELETE", "/admin/keys/nope", 404),
        ("DELETE", "/admin/subjects/someone", 501),
    ],
)
async def test_every_refusal_has_the_envelope(admin: httpx.AsyncClient, method: str, path: str, status: int):
    reply = await admin.request(method, path)
    assert reply.status_code == status
    fault(reply)


async def test_erasure_says_by_name_that_it_is_not_there(admin: httpx.AsyncClient):
    assert fault(await admin.delete("/admin/subjects/x"))["code"] == "not_yet_supported"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong", "Bearer " + "x" * 5000, "Bearer ' OR 1=1"]
)
async def test_without_an_admin_key_nothing_is_said(admin: httpx.AsyncClient, header: str | None):
    headers = {"authorization": header} if header is not None else {}
    if header is None:
        del admin.headers["authorization"]
    reply = await admin.get(AT, headers=headers)
    assert (reply.status_code, fault(reply)["code"]) == (401, "invalid_api_key")


async def test_data_keys_and_revoked_keys_open_nothing(admin: httpx.AsyncClient, site: Site):
    data, revoked = site.key("data"), site.key("admin", revoked_at=1.0)
    assert (await admin.get(AT, headers={"authorization": f"Bearer {data}"})).status_code == 403
    assert (await admin.get(AT, headers={"authorization": f"Bearer {revoked}"})).status_code == 401


async def test_a_key_is_shown_once_and_revoked_by_its_id(admin: httpx.AsyncClient):
    made = await admin.post("/admin/keys", json={"role": "admin", "tenant": "ops", "label": "phone"})
    assert made.status_code == 201
    key, name = made.json()["key"], made.json()["id"]
    mine = {"authorization": f"Bearer {key}"}
    assert (await admin.get(AT, headers=mine)).status_code == 200
    listed = (await admin.get("/admin/keys")).text
    assert name in listed
    assert key not in listed
    assert (await admin.delete(f"/admin/keys/{name}")).status_code == 200
    assert (await admin.get(AT, headers=mine)).status_code == 401
    assert (await admin.delete(f"/admin/keys/{name}")).status_code == 404


async def test_a_key_is_made_with_limits_and_shows_them(admin: httpx.AsyncClient):
    made = await admin.post("/admin/keys", json={"limits": {"rpm": 60, "usd_per_day": 2.5}})
    assert made.json()["limits"] == {"max_concurrency": None, "rpm": 60, "tpm": None, "usd_per_day": 2.5}
    assert (await admin.post("/admin/keys", json={"limits": {"rpm": 0}})).status_code == 400
    assert (await admin.post("/admin/keys", json={"limits": {"rps": 1}})).status_code == 400


async def test_pairs_are_listed_without_content_and_reading_one_is_audited(admin: httpx.AsyncClient, site: Site):
    rollout = site.store.rollout(ROUTE)
    assert rollout is not None
    words: dict[str, Any] = {
        "admitted_at": site.now,
        "epoch": rollout.epoch,
        "revision": rollout.revision,
        "salt": rollout.salt,
    }
    secret = {"messages": [{"role": "user", "content": "a secret question"}]}
    spool(site.data_dir, "g1", [exchange("x1", request=secret, **words), shadow("x1", ended_at=site.now)])
    site.tick()
    listed = await admin.get("/admin/pairs", params={"route": ROUTE})
    assert [pair["id"] for pair in listed.json()["pairs"]] == ["x1"]
    assert "secret" not in listed.text
    assert not [row for row in site.store.audits() if row.action == "read content"]
    read = (await admin.get("/admin/pairs/x1")).json()
    assert read["pair"]["request"] == secret
    assert read["judgements"] == []
    (row,) = [row for row in site.store.audits() if row.action == "read content"]
    assert row.subject == "x1"
    shown = (await admin.get(AT)).json()
    assert shown["queue"]["waiting"] == 1


async def test_gates_say_what_is_missing(admin: httpx.AsyncClient):
    gates = (await admin.get(f"{AT}/gates")).json()
    assert gates["next_share_bp"] == 1000
    quality = gates["cells"][0]
    assert quality["n"] == 0
    assert quality["threshold"] > quality["log_e"]
    assert gates["fresh"]["threshold"] > gates["fresh"]["log_e"]
    assert set(gates["detectors"]) == set(gates["detector_thresholds"]) == {"hold", "down", "back"}
    assert gates["blockers"]
    assert gates["pairs_left"]["low"] < gates["pairs_left"]["middle"] < gates["pairs_left"]["high"]


async def test_metrics_and_health_need_no_key(admin: httpx.AsyncClient):
    del admin.headers["authorization"]
    scraped = await admin.get("/metrics")
    assert scraped.status_code == 200
    assert f'tutelage_rollout_share_bp{{route="{ROUTE}"}} 0.0' in scraped.text
    assert (await admin.get("/livez")).status_code == 200
    assert (await admin.get("/readyz")).status_code == 200


async def test_a_large_body_is_refused_unread(admin: httpx.AsyncClient):
    reply = await admin.post(f"{AT}/kill", content=b"[" * 100_000, headers={"authorization": ""})
    assert reply.status_code == 413
    assert "limits.request_mb" not in fault(reply)["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 50_000, b'{"student_bp": NaN}'])
async def test_a_body_that_cannot_be_read_is_a_clear_400(admin: httpx.AsyncClient, body: bytes):
    headers = {"if-match": "1", "content-type": "application/json"}
    reply = await admin.put(f"{AT}/share", content=body, headers=headers)
    assert reply.status_code == 400
    fault(reply)


async def test_a_slash_at_the_end_changes_nothing(admin: httpx.AsyncClient):
    assert (await admin.get(f"{AT}/")).json() == (await admin.get(AT)).json()


async def test_a_body_that_is_not_declared_as_json_is_told_how(admin: httpx.AsyncClient):
    reply = await admin.put(f"{AT}/share", content=b'{"student_bp": 1, "reason": "a test"}', headers={"if-match": "1"})
    assert reply.status_code == 400
    assert "Content-Type: application/json" in fault(reply)["message"]


# --- parts ------------------------------------------------------------------------------------------------------------


async def test_a_part_is_shown_moved_and_explained_as_a_route_is(carving: Site, admin: httpx.AsyncClient):
    gold = f"{AT}:gold"
    listed = (await admin.get("/admin/routes")).json()["routes"]
    assert [route["route"] for route in listed] == [ROUTE, f"{ROUTE}:gold"]
    reply = await admin.put(f"{gold}/share", json={"student_bp": 2500}, headers={"if-match": "2"})
    assert (reply.json()["route"], reply.json()["share_bp"]) == (f"{ROUTE}:gold", 2500)
    assert (await admin.get(AT)).json()["share_bp"] == 0
    gates = (await admin.get(f"{gold}/gates")).json()
    assert gates["detector_thresholds"] == {"hold": 200.0, "down": 2_000.0, "back": 20_000.0}
    decisions = (await admin.get(f"{gold}/history")).json()["decisions"]
    assert {decision["route"] for decision in decisions} == {f"{ROUTE}:gold"}
    assert decisions[0]["event"] == "SetShare"


async def test_a_kill_is_of_a_route_with_its_parts_or_of_a_part_alone(carving: Site, admin: httpx.AsyncClient):
    async def killed() -> list[bool]:
        return [route["killed"] for route in (await admin.get("/admin/routes")).json()["routes"]]

    answered = (await act(admin, "kill")).json()
    assert (answered["route"], [part["route"] for part in answered["parts"]]) == (ROUTE, [f"{ROUTE}:gold"])
    assert await killed() == [True, True]
    assert (await admin.post(f"{AT}:gold/clear")).json()["route"] == f"{ROUTE}:gold"
    assert await killed() == [True, False]
    assert (await act(admin, "clear")).json()["killed"] is False
    assert await killed() == [False, False]
    assert (await act(admin, "clear")).status_code == 409


async def test_a_rollback_is_of_a_route_with_its_parts_and_a_promotion_of_the_rest_alone(
    carving: Site, admin: httpx.AsyncClient
):
    promoted = (await act(admin, "promote", await revision(admin))).json()
    assert (promoted["share_bp"], promoted["parts"][0]["share_bp"]) == (1000, 0)
    assert promoted["parts"][0]["unmoved"] == "it is moved by its own name"
    back = (await act(admin, "rollback", await revision(admin))).json()
    assert [back["phase"], *(part["phase"] for part in back["parts"])] == ["ROLLED_BACK", "ROLLED_BACK"]
    assert (await act(admin, "resume", 1)).status_code == 412
    whole = (await admin.get(AT)).json()["whole"]
    assert (whole["share_in_force_bp"], whole["waiting"]) == (None, 0)
