"""Every decision on record, decided again from what the store holds."""

import random
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from router.events import Pause, Resume
from router.types import Arm
from tests.tutelage.control.conftest import Site, built
from tests.tutelage.control.made import ROUTE, exchange, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_loop import events, rollout_of, traffic
from tests.tutelage.control.test_succession import live as live  # noqa: PLC0414 - a fixture
from tests.tutelage.control.test_succession import measured
from tutelage.contracts.decisions import IDLE_S
from tutelage.contracts.ids import uuid7
from tutelage.contracts.pairs import Judgement
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.control.metrics import Metrics
from tutelage.control.replay import Found, Replay, replay
from tutelage.control.units import JUDGE_DEADLINE_S
from tutelage.store import apply as writes
from tutelage.store.base import Store


def judged(site: Site, draw: random.Random, most: int = 10_000) -> None:
    """Judge what waits, some of it as nothing that could be scored."""
    site.store.judged(
        [
            Judgement(
                pair_id=claim.pair.id,
                rubric="exact@1",
                method="check",
                scores=(),
                d=d,
                failure="judge_unscorable" if d is None else None,
                student_score=0.5,
                first_minus_second=draw.choice([-0.25, 0.25]),
                scored_at=site.now,
            )
            for claim in site.store.claim("w", most, 60.0, site.now)
            for d in [draw.choice([*[-0.25, 0.0, 0.0, 0.3] * 60, None])]
        ]
    )


def again(site: Site) -> Replay:
    return replay(site.store, ROUTE, ())


def all_same(site: Site) -> Replay:
    found = again(site)
    assert [one.differences for one in found.again if one.found is not Found.SAME] == []
    assert found.again
    return found


def history_of_many_turns(site: Site) -> None:
    """Up, a pause, a control that begins anew, scores that come late, an operator, harm, and back in shadow."""
    site.tick()
    draw = random.Random(7)
    for number in range(14):
        traffic(site, 50, f"f{number}", Arm.TEACHER)
        if rollout_of(site).rung > 0:
            traffic(site, 50, f"r{number}", Arm.STUDENT)
        site.tick()
        judged(site, draw, 30 if number % 3 else 10_000)
        site.tick()
        if number == 5:
            writes.apply(
                site.store,
                ROUTE,
                Pause(at=site.now, actor="test", reason="lunch"),
                expected_revision=None,
                new_id=uuid7,
            )
        if number == 7:
            back = Resume(at=site.now, actor="test", reason="back", salt="s")
            writes.apply(site.store, ROUTE, back, expected_revision=None, new_id=uuid7)
            site.loop.release()
            site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "second")


def test_every_decision_is_found_again_from_what_the_store_holds(site: Site):
    history_of_many_turns(site)
    traffic(site, 20, "late", Arm.TEACHER)
    site.tick()
    site.now += JUDGE_DEADLINE_S + 5.0
    site.tick()
    judged(site, random.Random(1))
    site.tick(3)
    assert {"Advance", "Hold", "Release", "Stay"} <= set(events(site))
    found = all_same(site)
    assert found.others >= 3
    assert found.count(Found.SAME) == len([e for e in site.store.history(ROUTE, 1_000) if e.actor == "controller"])


def test_conversations_are_cut_again_as_they_were(site: Site):
    site.loop.release()
    site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "conversations", unit="conversation")
    site.tick()
    draw = random.Random(3)
    for number in range(5):
        now, records = rollout_of(site), list[Exchange | ShadowAttempt]()
        for turn in range(120):
            made = exchange(
                f"{number}-{turn}", admitted_at=site.now + turn / 100, conversation=f"c{number}-{turn % 60}",
                epoch=now.epoch, revision=now.revision, salt=now.salt,
            )  # fmt: skip
            records += [made, shadow(made.id, Arm.STUDENT, ended_at=site.now)]
        spool(site.data_dir, "g1", records)
        site.tick()
        judged(site, draw)
        site.now += IDLE_S + 10.0
        site.tick()
    assert "Advance" in events(site)
    assert all_same(site).count(Found.SAME) > 3


def test_a_successor_s_decisions_are_made_again_on_its_own_evidence(live: Site):
    measured(live, 6, serving=0.0, successor=0.1)
    assert "Succeed" in events(live)
    all_same(live)


def test_a_score_that_was_changed_is_found(site: Site):
    history_of_many_turns(site)
    rewrite(site, "UPDATE judgements SET body = replace(CAST(body AS TEXT), '\"d\":0.0', '\"d\":0.3') WHERE rank = 60")
    found = again(site)
    assert found.count(Found.DIFFERENT)
    words = [words for one in found.again for words in one.differences]
    assert any("of other scores" in each for each in words)


def test_what_is_past_its_retention_is_unknown_and_not_a_difference(site: Site):
    history_of_many_turns(site)
    before = again(site)
    rewrite(site, "DELETE FROM pair_bodies WHERE rank = 60")
    found = again(site)
    assert found.count(Found.DIFFERENT) == 0
    assert 0 < found.count(Found.UNKNOWN) <= len(before.again)
    assert found.count(Found.SAME) > 0


async def test_the_admin_plane_replays_what_it_shows_where_nobody_waits_for_it(
    site: Site, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    history_of_many_turns(site)
    threads: list[str] = []

    def seen(store: Store, route: str, analyses: Sequence[str]) -> Replay:
        threads.append(threading.current_thread().name)
        return replay(store, route, analyses)

    monkeypatch.setattr("tutelage.control.replay.replay", seen)
    shown = (await admin.get(f"/admin/routes/{ROUTE}/history", params={"replay": "true"})).json()["replay"]
    assert (shown["different"], shown["unknown"]) == (0, 0)
    assert shown["same"] == len(shown["decisions"]) > 3
    assert "replay" not in (await admin.get(f"/admin/routes/{ROUTE}/history")).json()
    assert [name.split("_")[0] for name in threads] == ["study"]


def rewrite(site: Site, statement: str) -> None:
    path = Path(site.url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount == 1
