"""How requests are served, drawn for a shadow or not: from the exchange to the fast lane's alarm."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.events import Promote
from router.types import Arm, Direction
from scoring.gates.harm import A_BACK
from scoring.rubrics.scorer import Scorer, compile_rubric
from tests.tutelage.control.conftest import Site, built
from tests.tutelage.control.made import ROUTE, attempt, epoch, exchange, plan
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_join import HERE
from tests.tutelage.control.test_loop import events, rollout_of
from tests.tutelage.control.test_replay import all_same
from tutelage.contracts.decisions import IDLE_S, GateRules
from tutelage.contracts.ids import uuid7
from tutelage.contracts.pairs import Serving
from tutelage.contracts.records import Answer, CapturePolicy, Exchange, Feedback
from tutelage.control.metrics import Metrics
from tutelage.control.serving import FEEDBACK_S, serving_of, units_of
from tutelage.store import apply as writes
from tutelage.store.base import Served

JUDGED = "name: exact\nversion: 1\ncriteria: [{name: clear, weight: 1, judge: {question: 'Is it clear?', scale: 4}}]\n"
TEACHER, STUDENT = Arm.TEACHER, Arm.STUDENT
RULES = epoch(gates=GateRules(guardrails={"outcome": 0.1}))
BAD: dict[str, Any] = {"status": 500, "error": "status_500", "answer": None}
REFUSES: dict[str, Any] = {"answer": Answer(text="I'm sorry, but I can't help with that.")}


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    folder = tmp_path / "rubrics"
    folder.mkdir()
    (folder / "exact@1.yaml").write_text(JUDGED)
    return compile_rubric(folder, "exact@1")


def served(name: str = "x1", assigned: Arm = STUDENT, **changes: Any) -> Exchange:
    """An exchange of a route at half and half that was not drawn for a shadow."""
    split = plan(assigned, shadow=None, share_bp=5_000, **changes.pop("plan", {}))
    return exchange(name, assigned, plan=split, **changes)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, 1.0),
        ({"attempts": (attempt(STUDENT, **REFUSES),)}, 0.0),
        ({"attempts": (attempt(STUDENT, **BAD), attempt(TEACHER, "fallback")), "served_arm": TEACHER}, 0.0),
        ({"attempts": (attempt(TEACHER),), "plan": {"serve": TEACHER, "reasons": ("student_unavailable",)}}, 0.0),
        ({"attempts": (attempt(STUDENT, error="client_cancelled"),), "client_gone": True}, 0.0),
        ({"attempts": (attempt(STUDENT, **BAD), attempt(STUDENT, "retry"))}, 1.0),
    ],
    ids=["answered", "refused", "fell back", "breaker open", "hung up", "tried again"],
)
def test_a_request_is_worth_what_its_own_arm_brought_about(scorer: Scorer, changes: dict[str, Any], value: float):
    made = serving_of(served(**changes), replace(HERE, epoch=RULES, reader=scorer.alone))
    assert made is not None
    assert (made.value, made.direction, made.unit, made.key) == (value, Direction.REVERSE, "x1", "c-x1")


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"epoch": "another"}, RULES),
        ({"policy": CapturePolicy(log="metadata", train=True)}, RULES),
        ({"endpoint": "embeddings"}, RULES),
        ({"plan": {"in_population": False, "reasons": ("pinned",)}}, RULES),
        ({}, epoch()),
        ({}, epoch(gates=GateRules(guardrails={"outcome": 0.1}, outcome_bp=0))),
    ],
    ids=["another epoch", "content off", "vectors", "pinned", "not guarded", "not drawn"],
)
def test_what_is_outside_says_nothing(scorer: Scorer, changes: dict[str, Any], rules: Any):
    assert serving_of(served(**changes), replace(HERE, epoch=rules, reader=scorer.alone)) is None


def test_where_one_arm_alone_can_serve_there_is_nothing_to_compare(scorer: Scorer):
    route = replace(HERE, epoch=RULES, reader=scorer.alone)
    assert serving_of(exchange(), route) is None  # share 0
    assert serving_of(served(), replace(route, reader=None)) is None


def one(at: float, value: float, *, unit: str = "u", said: Sequence[tuple[float, str]] = ()) -> Served:
    feedback = [
        Feedback(id=f"f{n}", exchange_id="x", tenant="t", type="thumb", value=v, at=t) for n, (t, v) in enumerate(said)
    ]
    serving = Serving(
        id=f"{unit}-{at}",
        route=ROUTE,
        epoch="e1",
        revision=2,
        direction=Direction.REVERSE,
        unit=unit,
        key="k",
        at=at,
        value=value,
    )
    return Served(order=1, serving=serving, feedback=tuple(feedback))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], 1.0),
        ([(5.0, "down")], 0.5),
        ([(5.0, "up"), (6.0, "down")], 0.75),
        ([(FEEDBACK_S + 1, "down")], 1.0),
    ],
    ids=["nothing", "down", "both", "too late"],
)
def test_people_count_half_where_they_spoke_in_time(said: list[tuple[float, str]], expected: float):
    [unit] = units_of([one(0.0, 1.0, said=said)], epoch(unit="request"))
    assert unit.metrics == {"served": expected}
    assert (unit.d, unit.missing, unit.turns) == (None, None, 0)


def test_a_conversation_is_one_unit_however_many_turns_it_has():
    turns = [one(0.0, 1.0, said=[(IDLE_S - 1, "down")]), one(10.0, 0.0), one(20.0, 1.0, unit="v")]
    units = units_of(turns, epoch(unit="conversation"))
    assert [(made.id, made.metrics["served"], made.last_at) for made in units] == [
        ("u-0.0", 0.25, 10.0),
        ("v-20.0", 1.0, 20.0),
    ]


def test_a_student_that_fails_where_nobody_shadows_steps_down_and_the_decision_replays(site: Site, scorer: Scorer):
    """No pair is made of any of this traffic: what alarms is how it was served."""
    site.loop.release()
    site.loop = built(site.data_dir, site.store, Metrics(), lambda: site.now, "outcomes", scorers={"exact@1": scorer})
    site.tick()
    up = Promote(at=site.now, actor="test", reason="by hand", waived=True)
    writes.apply(site.store, ROUTE, up, expected_revision=None, new_id=uuid7)
    now = rollout_of(site)
    records = []
    for number in range(900):
        arm = STUDENT if number % 2 else TEACHER
        own = {"attempts": (attempt(STUDENT, **BAD), attempt(TEACHER, "fallback"))} if arm is STUDENT else {}
        at = site.now + number / 100
        records.append(
            served(f"u{number:04}", arm, admitted_at=at, epoch=now.epoch, revision=now.revision, salt=now.salt, **own)
        )
    spool(site.data_dir, "g1", records)
    site.tick()
    assert site.store.depth(ROUTE).scored == 0
    assert "StepDown" not in events(site)
    site.now += FEEDBACK_S + 10.0
    site.tick(6)
    assert "StepDown" in events(site) or "RollBack" in events(site)
    moved = next(d for d in site.store.history(ROUTE, 100) if d.event in ("StepDown", "RollBack"))
    assert "raised most by reverse/all/outcome" in moved.reason
    assert max(moved.detectors.values()) > A_BACK / 10
    assert not site.store.servings(ROUTE, site.now, site.now, 10)
    all_same(site)
