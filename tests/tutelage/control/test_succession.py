"""A successor is shadowed beside the serving student and takes its rung over when its own evidence reaches it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.rollout import Phase, Rollout
from router.types import Arm, Direction
from tests.tutelage.control.conftest import SOURCES, Site
from tests.tutelage.control.made import NOW, ROUTE, attempt, epoch, exchange, rollout, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_join import HERE
from tests.tutelage.control.test_loop import events, rollout_of, until
from tutelage.contracts.load import validated
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.contracts.settings import Settings
from tutelage.control import gates
from tutelage.control.app import application
from tutelage.control.conclude import JoinRoute, conclusions, expected_shadows
from tutelage.control.decide import Gatekeeper
from tutelage.control.desk import Desk
from tutelage.control.health import Health
from tutelage.control.loop import Loop, Parts, join_routes
from tutelage.control.metrics import Metrics
from tutelage.control.snapshot import Publisher
from tutelage.control.tail import Tail
from tutelage.store.base import Exclusion
from tutelage.store.registry import open_store

NEXT = "next@v2"
HEIR = JoinRoute(rollout=rollout(student=NEXT, epoch="e2"), epoch=epoch(id="e2", student=NEXT))
BESIDE = JoinRoute(rollout=HERE.rollout, epoch=HERE.epoch, successor=HEIR)


def answered_by(name: str, text: str = "yes", of: str = "x1", at: float = NOW) -> ShadowAttempt:
    made = attempt(Arm.STUDENT, "shadow", upstream=name, version="v1" if name == "small" else "v2")
    return shadow(of, id=f"{name}-{of}", attempt=made, ended_at=at)


# --- the join ---------------------------------------------------------------------------------------------------------


def test_an_exchange_with_a_successor_comes_to_two_pairs():
    made = exchange(successor=NEXT)
    assert expected_shadows(made) == 2
    serving, beside = conclusions(made, [answered_by("next"), answered_by("small")], BESIDE)
    assert isinstance(serving, Pair)
    assert isinstance(beside, Pair)
    assert (serving.id, serving.epoch, serving.excluded) == ("x1", "e1", None)
    assert (beside.id, beside.epoch, beside.excluded) == ("x1-successor", "e2", None)
    assert serving.student is not None
    assert beside.student is not None
    assert (serving.student.upstream, beside.student.upstream) == ("small", "next")
    assert serving.teacher == beside.teacher
    assert beside.direction is Direction.FORWARD


def test_a_client_that_hung_up_is_asked_again_once_for_both():
    gone = exchange(client_gone=True, attempts=(attempt(Arm.TEACHER, error="client_cancelled"),), successor=NEXT)
    again = shadow(id="again", attempt=attempt(Arm.TEACHER, "rescore"))
    assert expected_shadows(gone) == 3
    pairs = conclusions(gone, [answered_by("small"), again, answered_by("next")], BESIDE)
    assert [pair.teacher for pair in pairs if isinstance(pair, Pair)] == [again.attempt, again.attempt]


def test_a_successor_that_failed_is_in_its_own_pair_and_one_that_is_gone_in_none():
    failed = shadow(id="f", attempt=attempt(Arm.STUDENT, "shadow", upstream="next", version="v2", error="connect"))
    _, beside = conclusions(exchange(successor=NEXT), [answered_by("small"), failed], BESIDE)
    assert isinstance(beside, Pair)
    assert beside.student is not None
    assert beside.student.error == "connect"
    assert len(conclusions(exchange(successor=NEXT), [answered_by("small"), failed], HERE)) == 1


def test_what_a_dead_gateway_owes_a_successor_is_counted_though_the_serving_student_has_its_pair():
    serving, beside = conclusions(exchange(successor=NEXT), [answered_by("small")], BESIDE)
    assert isinstance(serving, Pair)
    assert isinstance(beside, Exclusion)
    assert (beside.id, beside.reason) == ("x1-successor", "gateway_died")
    both = conclusions(exchange(successor=NEXT), [], BESIDE)
    assert [(gone.epoch, type(gone)) for gone in both] == [("e1", Exclusion), ("e2", Exclusion)]


def test_what_was_asked_of_a_successor_counts_for_it_when_it_serves():
    """Late: it has taken over since. The serving pair is of the past."""
    serving, beside = conclusions(exchange(successor=NEXT), [answered_by("small"), answered_by("next")], HEIR)
    assert isinstance(serving, Pair)
    assert isinstance(beside, Pair)
    assert (serving.excluded, beside.excluded) == ("superseded", None)


# --- the whole of control ---------------------------------------------------------------------------------------------


def configured(data_dir: Path, *, successor: bool, approval: str = "none") -> Settings:
    student = {"kind": "vllm", "base_url": "http://127.0.0.1:2/v1", "model": "m", "trained_until": "2026-01-01"}
    document: dict[str, Any] = {
        "data_dir": str(data_dir),
        "upstreams": {
            "gpt": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "gpt", "version": "t1"},
            "small": {**student, "version": "v1"},
            "next": {**student, "version": "v2", "successor": True},
        },
        "routes": {
            ROUTE: {
                "teacher": "gpt",
                "student": "next" if successor else "small",
                "capture": {"content": "full", "purpose": "tests"},
                "unit": "request",
                "rubric": "exact@1",
                "rollout": {"mode": "gated", "stages": ["0%", "10%", "90%"], "dwell": 0, "approval": approval},
            }
        },
    }
    return validated(document, "test")


def begin(site: Site, *, successor: bool, approval: str = "none") -> None:
    """A control that reads this configuration, from its first tick on."""
    settings, metrics = configured(site.data_dir, successor=successor, approval=approval), Metrics()
    if site.loop is not None:
        site.loop.release()
    tail = Tail(site.store, site.data_dir)
    health = Health(site.data_dir, tail.overdue)
    parts = Parts(
        store=site.store,
        settings=settings,
        publisher=Publisher(settings, {"exact@1": "digest"}, SOURCES),
        tail=tail,
        keeper=Gatekeeper(site.store, settings, metrics, SOURCES.new_id, health),
        health=health,
        metrics=metrics,
    )
    site.loop = Loop(parts, f"control-{site.now}", lambda: site.now)
    site.tick()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Site]:
    """The first student serves 10 %, and the next one is declared its successor."""
    store = open_store(f"sqlite:///{tmp_path}/tutelage.db")
    site = Site(data_dir=tmp_path, store=store, loop=None, metrics=Metrics(), now=NOW)  # type: ignore[arg-type] # begin
    begin(site, successor=False)
    until(site, lambda now: now.rung == 1, Arm.TEACHER, 0.0)
    begin(site, successor=True)
    yield site
    store.close()


def both(site: Site, count: int, name: str) -> None:
    """`count` exchanges that the teacher serves, each asked of both students."""
    now, records = rollout_of(site), list[Exchange | ShadowAttempt]()
    for n in range(count):
        made = exchange(
            f"{name}-{n}", admitted_at=site.now, epoch=now.epoch, revision=now.revision, salt=now.salt,
            successor=NEXT if now.successor is not None else None,
        )  # fmt: skip
        records += [made, answered_by("small", of=made.id, at=site.now)]
        records += [answered_by("next", of=made.id, at=site.now)] if now.successor is not None else []
    spool(site.data_dir, "g1", records)


def score(site: Site, *, serving: float, successor: float) -> None:
    claimed = site.store.claim("w", 10_000, 60.0, site.now)
    site.store.judged(
        [
            Judgement(
                pair_id=claim.pair.id, rubric="exact@1", method="check", scores=(), scored_at=site.now,
                d=successor if claim.pair.id.endswith("-successor") else serving,
            )
            for claim in claimed
        ]
    )  # fmt: skip


def measured(site: Site, rounds: int, *, serving: float, successor: float) -> Rollout:
    for number in range(rounds):
        both(site, 50, f"both-{site.now}-{number}")
        site.tick()
        score(site, serving=serving, successor=successor)
        site.tick()
    return rollout_of(site)


def test_the_serving_student_goes_on_serving_while_its_successor_is_measured(live: Site):
    now = rollout_of(live)
    assert (now.student, now.share_bp, now.phase) == ("small@v1", 1000, Phase.RAMPING)
    assert now.successor is not None
    assert now.successor.student == NEXT
    snapshot = live.store.snapshot()
    assert snapshot is not None
    assert snapshot.successors[ROUTE].student == NEXT
    joined = join_routes(configured(live.data_dir, successor=True), snapshot, {}, {})[ROUTE]
    assert joined.successor is not None
    assert joined.successor.epoch.student == NEXT
    shown = gates.document(gates.look(live.store, snapshot, ROUTE, live.now))
    assert shown["successor"]["student"] == NEXT
    assert "evidence: log E" in shown["successor"]["reason"]


def test_a_good_successor_takes_over_with_its_evidence(live: Site):
    before = rollout_of(live)
    after = measured(live, 6, serving=0.0, successor=0.1)
    assert after.student == NEXT
    assert (after.share_bp, after.rung, after.salt) == (1000, 1, before.salt)
    assert events(live)[-2:] == ["NewSuccessor", "Succeed"] or "Succeed" in events(live)
    snapshot = live.store.snapshot()
    assert snapshot is not None
    seen = gates.look(live.store, snapshot, ROUTE, live.now)
    assert seen.view.state.epoch == after.epoch
    assert seen.view.state.overall.evidence.units >= 30
    begin(live, successor=True)  # a control that begins anew finds the same
    assert rollout_of(live).student == NEXT
    assert gates.look(live.store, snapshot, ROUTE, live.now).view.state.overall.evidence.units >= 30


def test_a_bad_successor_is_sent_away_and_not_tried_again_while_the_serving_student_stays(live: Site):
    after = measured(live, 8, serving=0.0, successor=-0.3)
    assert (after.student, after.share_bp) == ("small@v1", 1000)
    assert (after.successor, after.dismissed) == (None, NEXT)
    assert "Dismiss" in events(live)
    begin(live, successor=True)
    assert rollout_of(live).successor is None
    assert events(live).count("NewSuccessor") == 1


def test_a_successor_whose_declaration_is_taken_back_goes(live: Site):
    begin(live, successor=False)
    assert rollout_of(live).successor is None
    assert rollout_of(live).student == "small@v1"


def test_where_no_student_serves_a_successor_is_a_new_student(tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path}/tutelage.db")
    site = Site(data_dir=tmp_path, store=store, loop=None, metrics=Metrics(), now=NOW)  # type: ignore[arg-type] # begin
    begin(site, successor=False)
    begin(site, successor=True)
    assert (rollout_of(site).student, rollout_of(site).successor, rollout_of(site).phase) == (NEXT, None, Phase.SHADOW)
    store.close()


async def test_where_a_person_approves_promote_is_the_word_that_a_proven_successor_waits_for(live: Site):
    begin(live, successor=True, approval="required")
    waiting = measured(live, 6, serving=0.0, successor=0.1)
    assert waiting.student == "small@v1"
    desk = Desk(lambda: open_store(live.url), clock=lambda: live.now)
    app = application(desk, live.metrics.scrape, lambda: True)
    headers = {"authorization": f"Bearer {live.key()}", "if-match": str(waiting.revision)}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://admin", headers=headers
    ) as admin:
        answered = await admin.post(f"/admin/routes/{ROUTE}/promote", json={"reason": "it is better"})
    await desk.aclose()
    assert answered.status_code == 200
    live.tick()
    after = rollout_of(live)
    assert (after.student, after.share_bp) == (NEXT, 1000)
    snapshot = live.store.snapshot()
    assert snapshot is not None
    both(live, 5, "after")
    live.tick()
    score(live, serving=0.0, successor=0.0)
    live.tick()
    assert gates.look(live.store, snapshot, ROUTE, live.now).view.state.overall.evidence.units >= 30
