"""What holds a rollout though nothing is known against its student: from records and spools to the alarm and the hold."""

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

import tutelage.control.health as module
from router.rollout import TEACHER, Phase
from router.types import Arm, Direction
from tests.tutelage.control.conftest import Site
from tests.tutelage.control.made import NOW, ROUTE, attempt, exchange, plan, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_join import HERE
from tests.tutelage.control.test_loop import events, judge, rollout_of, traffic, until
from tutelage.control.health import BREAKER_S, WINDOW_S, Health
from tutelage.control.tail import Tail
from tutelage.store.registry import open_store
from tutelage.store.spool import KEEP_ACCOUNT, create, read_account, spool_path

REFUSED: dict[str, Any] = {"status": None, "error": "breaker_open", "answer": None}


def health(data_dir: Path) -> Health:
    return Health(data_dir, lambda before: {})


def account(data_dir: Path, eligible: int, lost: int, gateway: str = "g1") -> None:
    path = spool_path(data_dir, gateway)
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            create(connection)
        with connection:
            connection.execute(KEEP_ACCOUNT, (eligible, f'{{"queue_full": {lost}, "opted_out": 5}}'))


def test_a_breaker_is_open_from_the_call_that_it_refused_to_the_next_that_came_through(tmp_path: Path):
    watched = health(tmp_path)
    watched.saw(exchange("x1", admitted_at=NOW, attempts=(attempt(Arm.TEACHER, **REFUSED),)))
    assert watched.of(ROUTE, NOW + 1).alarm("teacher")
    assert watched.of("other", NOW + 1).alarm("teacher") is None
    assert watched.of(ROUTE, NOW + BREAKER_S + 1).alarm("teacher") is None
    watched.saw(shadow("x2", Arm.TEACHER, ended_at=NOW + 2))
    assert watched.of(ROUTE, NOW + 3).alarm("teacher") is None
    watched.saw(exchange("x3", admitted_at=NOW + 3, attempts=(attempt(Arm.STUDENT, **REFUSED),)))
    assert watched.of(ROUTE, NOW + 4).alarm("teacher") is None


def test_what_gateways_lost_lately_is_an_alarm_until_it_is_long_ago(tmp_path: Path):
    watched = health(tmp_path)
    account(tmp_path, 1_000_000, 500_000)  # before anybody looked: nobody knows when
    watched.look(NOW)
    account(tmp_path, 1_001_000, 500_002)
    watched.look(NOW + 1)
    assert watched.of(ROUTE, NOW + 1).alarm("capture") is None
    account(tmp_path, 1_002_000, 500_052)
    watched.look(NOW + 2)
    assert (
        watched.of(ROUTE, NOW + 2).alarm("capture")
        == "gateways lost 52 of the last 2,000 records: queue or disk was full"
    )
    account(tmp_path, 300, 100)  # the process began anew
    watched.look(NOW + 3)
    assert "lost 152 of the last 2,300" in str(watched.of(ROUTE, NOW + 3).alarm("capture"))
    watched.look(NOW + 4 + WINDOW_S)
    assert watched.of(ROUTE, NOW + 4 + WINDOW_S).alarm("capture") is None


def test_an_account_is_read_back_and_a_spool_without_one_has_none(tmp_path: Path):
    account(tmp_path, 7, 2)
    found = read_account(spool_path(tmp_path, "g1"))
    assert found is not None
    assert (found.eligible, found.dropped) == (7, {"queue_full": 2, "opted_out": 5})
    spool(tmp_path, "g2", [exchange()])
    assert read_account(spool_path(tmp_path, "g2")) is None


def test_a_spool_that_cannot_be_read_is_told_once_and_again_when_it_happens_again(tmp_path: Path):
    watched, path = health(tmp_path), spool_path(tmp_path, "g1")
    path.parent.mkdir()
    with capture_logs() as lines:
        for there in (True, True, False, True):
            path.write_bytes(b"no database" * 999 if there else b"")
            watched.look(NOW)
    assert [line["gateway"] for line in lines] == ["g1", "g1"]


@pytest.mark.parametrize(("kept", "alarm"), [(1.0, False), (0.7, True)])
def test_a_split_that_loses_users_of_one_arm_is_an_alarm(tmp_path: Path, kept: float, alarm: bool):
    """At 10 % for the student; where `kept` of its users are captured, the ratio is off."""
    draw, watched = random.Random(4), health(tmp_path)
    for n in range(4_000):
        arm = Arm.STUDENT if draw.random() < 0.1 else Arm.TEACHER
        if arm is Arm.TEACHER or draw.random() < kept:
            watched.saw(exchange(f"x{n}", arm, plan=plan(arm, share_bp=1_000)))
    assert (watched.of(ROUTE, NOW).alarm("split") is not None) is alarm


def test_a_user_counts_once_however_often_he_comes(tmp_path: Path):
    watched = health(tmp_path)
    for n in range(2_000):
        watched.saw(exchange(f"x{n}", Arm.STUDENT, conversation="the same", plan=plan(Arm.STUDENT, share_bp=1_000)))
    assert watched.of(ROUTE, NOW).alarm("split") is None


def test_another_salt_shuffles_all_users_and_begins_the_account_anew(tmp_path: Path):
    watched = health(tmp_path)
    for n in range(200):
        off = exchange(f"x{n}", Arm.STUDENT, conversation=f"user {n}", plan=plan(Arm.STUDENT, share_bp=5_000))
        watched.saw(structs.replace(off, salt="the one before"))
    assert watched.of(ROUTE, NOW).alarm("split") is not None
    for n in range(200):
        arm = Arm.STUDENT if n % 2 else Arm.TEACHER
        even = exchange(f"y{n}", arm, conversation=f"user {n}", plan=plan(arm, share_bp=5_000))
        watched.saw(structs.replace(even, salt="the next"))
    split = watched.of(ROUTE, NOW).split
    assert split is not None
    assert (split.alarm, split.words.partition(" where")[0]) == (False, "the student has 100 of 200 users")


def test_a_failing_student_is_held_not_rolled_back_onto_a_teacher_that_is_gone(site: Site):
    site.tick()
    until(site, lambda rollout: rollout.rung == 1, Arm.TEACHER, 0.0)
    for number in range(6):
        rollout = rollout_of(site)
        refused = exchange(
            f"gone-{number}",
            admitted_at=site.now + 1,
            epoch=rollout.epoch,
            revision=rollout.revision,
            plan=plan(shadow=None),
            attempts=(attempt(Arm.TEACHER, **REFUSED),),
        )
        spool(site.data_dir, "g1", [refused])
        traffic(site, 50, f"bad-{number}", Arm.STUDENT)
        # The pairs' teachers answered before it went: the last word is the refusal.
        site.tick()
        judge(site, -0.9)
        spool(site.data_dir, "g1", [structs.replace(refused, id=f"again-{number}")])
        site.tick()
    assert TEACHER in rollout_of(site).holds
    assert rollout_of(site).phase is Phase.HELD
    assert not {"RollBack", "StepDown"} & set(events(site))


def test_lossy_capture_holds_and_lets_go(site: Site):
    site.tick()
    account(site.data_dir, 10, 0, "g9")
    site.tick(2)
    account(site.data_dir, 1_010, 100, "g9")
    site.tick(3)
    assert "capture" in rollout_of(site).holds
    site.now += WINDOW_S
    site.tick(3)
    assert "capture" not in rollout_of(site).holds


def test_halves_that_do_not_come_hold_until_they_come(site: Site):
    site.tick()
    rollout = rollout_of(site)
    late = [
        exchange(f"late-{n}", admitted_at=site.now, epoch=rollout.epoch, revision=rollout.revision, salt=rollout.salt)
        for n in range(20)
    ]
    spool(site.data_dir, "g1", late)
    site.tick(2)
    assert "missing" not in rollout_of(site).holds
    site.now += 130.0
    site.tick(3)
    assert "missing" in rollout_of(site).holds
    spool(site.data_dir, "g1", [shadow(made.id, ended_at=site.now) for made in late])
    site.tick()
    judge(site, 0.0)
    site.tick(3)
    assert "missing" not in rollout_of(site).holds


def test_users_beyond_those_that_are_remembered_begin_the_account_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same 60 users, eight days long, in a split that is a little lucky: still 60 users, not 480."""
    monkeypatch.setattr(module, "USERS_KEPT", 59)
    watched = health(tmp_path)
    for number in range(8 * 60):
        arm = Arm.STUDENT if number % 60 < 38 else Arm.TEACHER
        watched.saw(exchange(f"x{number}", arm, conversation=f"user {number % 60}", plan=plan(arm, share_bp=5000)))
    assert watched.of(ROUTE, NOW).alarm("split") is None


def test_a_half_is_overdue_of_the_pairs_that_the_judge_s_rate_takes(tmp_path: Path):
    """The missing rate compares it with what was judged."""
    store = open_store(f"sqlite:///{tmp_path}/t.db")
    spool(tmp_path, "g1", [exchange(f"x{n}", conversation=f"user-{n}") for n in range(400)])
    tail = Tail(store, tmp_path)
    tail.read({ROUTE: replace(HERE, judge_bp=1_000, patience_s=600.0)}, NOW)
    drawn = tail.overdue(NOW + 1_000.0)[ROUTE, Direction.FORWARD]
    store.close()
    assert 15 < drawn < 80
