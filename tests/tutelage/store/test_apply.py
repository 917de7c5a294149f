import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.events import Advance, Begin, Event, Kill, Pause, RollBack, SetShare
from router.rollout import Effect, IllegalTransition, Phase, Rollout
from tests.tutelage.store.made import epoch, rollout
from tutelage.contracts.decisions import CellNumbers
from tutelage.contracts.errors import LeaseLost, StaleRevision, UnknownName
from tutelage.contracts.ids import uuid7
from tutelage.store.apply import TRIES, Basis, apply, create, in_words
from tutelage.store.base import RolloutChange, Store
from tutelage.store.registry import open_store
from tutelage.store.sqlite import SqliteStore

WHO: dict[str, Any] = {"at": 10.0, "actor": "test", "reason": "because"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    create(opened, rollout(), epoch=epoch(), actor="configuration", reason="declared", at=1.0, new_id=uuid7)
    yield opened
    opened.close()


def move(store: Store, event: Event, **arguments: Any) -> Rollout:
    return apply(store, "triage", event, **({"expected_revision": None, "new_id": uuid7} | arguments)).rollout


def test_a_first_state_is_created_once_with_its_rows(store: Store):
    assert store.rollout("triage") == rollout()
    [decision] = store.history("triage")
    assert (decision.event, decision.revision_from, decision.revision_to) == ("Create", 0, 1)
    assert [row.actor for row in store.audits()] == ["configuration"]
    with pytest.raises(StaleRevision):
        create(store, rollout(), epoch=None, actor="x", reason="", at=1.0, new_id=uuid7)


def test_an_event_moves_the_rollout_and_leaves_decision_and_audit(store: Store):
    move(store, Begin(**WHO))
    cell = CellNumbers(cell="forward/all/quality", n=7, mean_d=0.1, log_e=2.0, threshold=1.5)

    applied = apply(
        store,
        "triage",
        Advance(**WHO),
        expected_revision=2,
        new_id=lambda at: f"id at {at}",
        basis=Basis(cells=(cell,), detectors={"down": 0.5}),
    )

    assert store.rollout("triage") == applied.rollout
    assert (applied.rollout.share_bp, applied.rollout.phase, applied.effects) == (100, Phase.RAMPING, ())
    decision = store.history("triage")[0]
    assert decision == applied.decision
    assert (decision.id, decision.cells, decision.detectors) == ("id at 10.0", (cell,), {"down": 0.5})
    assert (decision.from_bp, decision.to_bp, decision.phase_from, decision.phase_to) == (0, 100, "SHADOW", "RAMPING")
    assert (decision.revision_from, decision.revision_to, decision.event) == (2, 3, "Advance")
    row = store.audits()[0]
    assert (row.action, row.subject, row.after) == ("Advance", "route triage", in_words(applied.rollout))
    assert row.before == "SHADOW at 0.00 %, rung 0, attempt 1, revision 2"


def test_effects_are_handed_to_the_caller(store: Store):
    move(store, Begin(**WHO))
    applied = apply(store, "triage", RollBack(**WHO), expected_revision=None, new_id=uuid7)
    assert applied.effects == (Effect.PAGE,)


def test_a_kill_shows_in_the_decision_as_the_share_in_force(store: Store):
    move(store, Begin(**WHO))
    move(store, SetShare(**WHO, share_bp=500))
    move(store, Kill(**WHO))
    decision = store.history("triage")[0]
    assert (decision.from_bp, decision.to_bp) == (500, 0)


def test_an_event_that_does_not_apply_changes_nothing(store: Store):
    before = store.sequence()
    with pytest.raises(IllegalTransition):
        move(store, Advance(**WHO))
    assert store.rollout("triage") == rollout()
    assert len(store.history("triage")) == 1
    assert store.sequence() == before


def test_a_stale_revision_is_refused_before_the_event_is_tried(store: Store):
    move(store, Begin(**WHO))
    with pytest.raises(StaleRevision, match="at revision 2, not 1"):
        move(store, Begin(**WHO), expected_revision=1)


def test_a_route_without_rollout_is_unknown(store: Store):
    with pytest.raises(UnknownName, match="'nobody'"):
        apply(store, "nobody", Kill(**WHO), expected_revision=None, new_id=uuid7)


def test_an_automatic_event_of_a_fenced_out_writer_is_refused(store: Store):
    old = store.acquire("control", "a", 1.0, 0.0)
    store.acquire("control", "b", 1.0, 5.0)
    with pytest.raises(LeaseLost):
        move(store, Begin(**WHO), lease=old)
    assert store.rollout("triage") == rollout()


class Contended(SqliteStore):
    """Somebody else always moves first."""

    tries = 0

    def commit(self, change: RolloutChange) -> int:
        self.tries += 1
        raise StaleRevision(change.rollout.route, change.expected_revision, change.expected_revision + 1)


@pytest.mark.parametrize(("expected_revision", "tries"), [(None, TRIES), (1, 1)])
def test_a_lost_race_is_tried_again_a_bounded_number_of_times(
    store: SqliteStore, expected_revision: int | None, tries: int
):
    contended = Contended(store._database)
    with pytest.raises(StaleRevision):
        move(contended, Begin(**WHO), expected_revision=expected_revision)
    assert contended.tries == tries


def test_writers_that_do_not_look_all_get_their_turn(store: Store, url: str):
    """Every event is applied once, and the revisions have no gap."""
    move(store, Begin(**WHO))

    def work(writer: int) -> None:
        mine = open_store(url)
        for share in range(5):
            apply(mine, "triage", SetShare(**WHO, share_bp=writer * 10 + share), expected_revision=None, new_id=uuid7)
        mine.close()

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = list(reversed(store.history("triage")))
    assert len(history) == 2 + 15
    assert all(a.revision_to == b.revision_from and a.to_bp == b.from_bp for a, b in itertools.pairwise(history))


def test_words_name_holds_and_kill(store: Store):
    move(store, Begin(**WHO))
    move(store, Pause(**WHO))
    assert in_words(move(store, Kill(**WHO))).endswith("revision 4, held by operator, killed")
