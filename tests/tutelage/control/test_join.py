import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.types import Arm, Direction, UnitOf
from tests.tutelage.control.made import NOW, ROUTE, attempt, epoch, exchange, plan, rollout, shadow
from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import CapturePolicy, Exchange, ShadowAttempt, Spooled
from tutelage.control.conclude import JoinRoute, conclude
from tutelage.control.join import Halves, Joiner
from tutelage.store.base import Exclusion

HERE = JoinRoute(rollout=rollout(), epoch=epoch(), patience_s=60.0)
ROUTES = {ROUTE: HERE}


def joiner(paired: tuple[str, ...] = ()) -> Joiner:
    return Joiner(Halves(), paired.__contains__)


def concluded(exchange: Exchange, *shadows: ShadowAttempt, route: JoinRoute = HERE) -> Pair | Exclusion:
    return conclude(exchange, shadows, route)


def reason(conclusion: Pair | Exclusion) -> str | None:
    return conclusion.reason if isinstance(conclusion, Exclusion) else conclusion.excluded


def test_a_served_teacher_and_a_shadowed_student_are_a_forward_pair():
    pair = concluded(exchange(), shadow())
    assert isinstance(pair, Pair)
    assert (pair.direction, pair.excluded, pair.parity) == (Direction.FORWARD, None, ())
    assert pair.teacher == attempt(Arm.TEACHER)
    assert pair.student == attempt(Arm.STUDENT, "shadow")
    assert (pair.id, pair.unit_id, pair.sticky_key) == ("x1", "x1", "c-x1")


def test_a_pair_carries_the_terms_of_the_upstream_that_answered_as_the_teacher():
    known = JoinRoute(rollout=rollout(), epoch=epoch(), training_use={"gpt": "denied", "small": "allowed"})
    other = JoinRoute(rollout=rollout(), epoch=epoch(), training_use={"another": "allowed"})
    pairs = [concluded(exchange(), shadow(), route=route) for route in (known, other)]
    assert [pair.training_use for pair in pairs if isinstance(pair, Pair)] == ["denied", "unknown"]


def test_a_served_student_and_a_shadowed_teacher_are_a_reverse_pair():
    pair = concluded(exchange(assigned=Arm.STUDENT), shadow(arm=Arm.TEACHER))
    assert isinstance(pair, Pair)
    assert (pair.direction, pair.excluded) == (Direction.REVERSE, None)


def test_the_direction_is_the_assigned_arms_where_the_student_was_not_available():
    moved = exchange(
        plan=plan(Arm.STUDENT, serve=Arm.TEACHER, shadow=Arm.STUDENT, reasons=("student_unavailable",)),
        attempts=(attempt(Arm.TEACHER),),
        served_arm=Arm.TEACHER,
    )
    failed = shadow(attempt=attempt(Arm.STUDENT, "shadow", status=None, error="breaker_open", answer=None))
    pair = concluded(moved, failed)
    assert isinstance(pair, Pair)
    assert pair.direction is Direction.REVERSE
    assert pair.student is not None
    assert pair.student.error == "breaker_open"


@pytest.mark.parametrize(
    "failure",
    [
        {"status": 500, "error": "status_500", "answer": None},
        {"status": None, "error": "timeout_total", "answer": None},
        {"status": 400, "error": "status_400", "answer": None},
        {"broke": True, "error": "broken"},
        {"error": "too_large", "answer": None},
        {"error": "redaction_failed", "answer": None},
    ],
)
def test_a_student_that_failed_stays_in_the_pair(failure: dict[str, Any]):
    pair = concluded(exchange(), shadow(attempt=attempt(Arm.STUDENT, "shadow", **failure)))
    assert isinstance(pair, Pair)
    assert pair.excluded is None
    assert pair.student is not None
    assert pair.student.error == failure["error"]


def test_a_student_that_fell_back_is_paired_with_its_own_failure():
    fell = exchange(
        assigned=Arm.STUDENT,
        attempts=(attempt(Arm.STUDENT, status=503, error="status_503", answer=None), attempt(Arm.TEACHER, "fallback")),
        served_arm=Arm.TEACHER,
    )
    pair = concluded(fell, shadow(attempt=None, lost="answered_in_fallback"))
    assert isinstance(pair, Pair)
    assert pair.teacher == attempt(Arm.TEACHER, "fallback")
    assert pair.student is not None
    assert pair.student.error == "status_503"
    assert pair.excluded is None


def test_a_client_that_hung_up_is_judged_on_what_was_asked_again():
    gone = exchange(
        client_gone=True, outcome="client_cancelled", attempts=(attempt(Arm.TEACHER, error="client_cancelled"),)
    )
    again = shadow(id="r-x1", attempt=attempt(Arm.TEACHER, "rescore"))
    pair = concluded(gone, shadow(), again)
    assert isinstance(pair, Pair)
    assert pair.teacher == again.attempt
    assert pair.excluded is None


def test_a_client_that_hung_up_and_was_not_asked_again_is_counted():
    assert reason(concluded(exchange(client_gone=True), shadow())) == "client_gone"


@pytest.mark.parametrize(
    ("changes", "shadows", "expected"),
    [
        ({"plan": plan(in_population=False, reasons=("pinned",))}, (shadow(),), "pinned"),
        ({"plan": plan(in_population=False)}, (shadow(),), "not_in_population"),
        ({"policy": CapturePolicy(log="metadata", train=True)}, (shadow(),), "log_off"),
        ({}, (), "gateway_died"),
        ({}, (shadow(attempt=None, lost="shutdown"),), "shutdown"),
        ({"truncated": True}, (shadow(),), "truncated"),
        ({"outcome": "upstream_error", "cause": "shutdown", "attempts": ()}, (shadow(),), "shutdown"),
        ({"request": None}, (shadow(),), "request_lost"),
        ({"attempts": (attempt(Arm.TEACHER, error="too_large", answer=None),)}, (shadow(),), "too_large"),
        (
            {"attempts": (attempt(Arm.TEACHER, status=400, error="status_400", answer=None),)},
            (shadow(attempt=attempt(Arm.STUDENT, "shadow", status=422, error="status_422", answer=None)),),
            "both_refused",
        ),
    ],
)
def test_what_can_be_no_pair_is_counted_by_its_reason(
    changes: dict[str, Any], shadows: tuple[ShadowAttempt, ...], expected: str
):
    conclusion = concluded(exchange(**changes), *shadows)
    assert isinstance(conclusion, Exclusion)
    assert conclusion.reason == expected


def test_429_from_both_arms_is_no_refusal_of_the_request():
    limited = attempt(Arm.TEACHER, status=429, error="status_429", answer=None)
    pair = concluded(
        exchange(attempts=(limited,)),
        shadow(attempt=attempt(Arm.STUDENT, "shadow", status=429, error="status_429", answer=None)),
    )
    assert isinstance(pair, Pair)


@pytest.mark.parametrize(
    ("changes", "route", "expected"),
    [
        ({"admitted_at": NOW - 2000}, HERE, "before_trained_until"),
        ({"epoch": "older"}, HERE, "superseded"),
        ({"revision": 1}, HERE, "superseded"),
        ({"attempts": (attempt(Arm.TEACHER, version="t0"),)}, HERE, "other_version"),
        ({"params_hash": "q"}, HERE, "parity"),
        ({"endpoint": "embeddings"}, HERE, "no_text"),
        ({}, JoinRoute(rollout=rollout(), epoch=epoch(rubric=None)), "no_rubric"),
        ({}, JoinRoute(rollout=rollout(), epoch=epoch(), judge_bp=0), "not_drawn"),
    ],
)
def test_a_pair_that_no_gate_may_read_is_kept_and_says_why(changes: dict[str, Any], route: JoinRoute, expected: str):
    pair = concluded(exchange(**changes), shadow(), route=route)
    assert isinstance(pair, Pair)
    assert pair.excluded == expected


def test_conversations_share_a_unit():
    route = JoinRoute(rollout=rollout(), epoch=epoch(), unit=UnitOf.CONVERSATION)
    pair = concluded(exchange(conversation="c"), shadow(), route=route)
    assert isinstance(pair, Pair)
    assert (pair.unit_id, pair.sticky_key) == ("c", "c")


def test_an_exchange_waits_for_its_shadow_and_the_store_is_told_of_it_once():
    joining = joiner()
    first = joining.join([exchange()], ROUTES, NOW)
    assert list(first.waiting) == [("x1", "x1")]
    assert not first.pairs
    assert not joining.join([], ROUTES, NOW).waiting
    second = joining.join([shadow()], ROUTES, NOW)
    assert [pair.id for pair in second.pairs] == ["x1"]
    assert second.done == ["x1"]
    assert not second.waiting


def test_halves_that_meet_in_one_batch_are_never_stored():
    joined = joiner().join([shadow(), exchange()], ROUTES, NOW)
    assert len(joined.pairs) == 1
    assert not joined.waiting
    assert not joined.done


def test_what_was_not_sampled_is_nobodys():
    joined = joiner().join([exchange(plan=plan(shadow=None))], ROUTES, NOW)
    assert not joined.pairs
    assert not joined.excluded
    assert not joined.waiting


def test_a_shadow_that_never_comes_is_counted_after_its_deadline_only():
    joining = joiner()
    joining.join([exchange(ended_ms=1000.0)], ROUTES, NOW)
    assert not joining.expire(ROUTES, NOW + 60.9).excluded
    overdue = joining.expire(ROUTES, NOW + 61.0)
    assert [(row.id, row.reason) for row in overdue.excluded] == [("x1", "gateway_died")]
    assert overdue.done == ["x1"]


def test_a_shadow_without_its_exchange_is_counted_unless_its_pair_is_there():
    joining = joiner(paired=("x2",))
    joining.join([shadow("x1"), shadow("x2"), shadow("x3", Arm.TEACHER)], ROUTES, NOW)
    overdue = joining.expire(ROUTES, NOW + 100.0)
    assert [(row.id, row.reason, row.direction) for row in overdue.excluded] == [
        ("x1", "exchange_lost", Direction.FORWARD),
        ("x3", "exchange_lost", Direction.REVERSE),
    ]
    assert sorted(overdue.done) == ["s-x1", "s-x2", "s-x3"]


def test_a_late_half_of_what_is_settled_changes_nothing():
    joining = joiner()
    joining.join([exchange(), shadow()], ROUTES, NOW)
    late = joining.join([shadow(id="again"), exchange()], ROUTES, NOW)
    assert not late.pairs
    assert not late.waiting


def story() -> list[Spooled]:
    records: list[Spooled] = []
    for number in range(6):
        name = f"x{number}"
        gone = number == 4
        records.append(exchange(name, client_gone=gone))
        if number != 3:
            records.append(shadow(name))
        if gone:
            records.append(shadow(name, id=f"r-{name}", attempt=attempt(Arm.TEACHER, "rescore")))
    return records


@given(st.permutations(story()), st.lists(st.integers(0, 13), max_size=4))
def test_every_sampled_exchange_gives_one_pair_or_one_reason_in_any_order_and_batches(
    records: list[Spooled], cuts: list[int]
):
    joining = joiner()
    ids: list[str] = []
    edges = [0, *sorted(cuts), len(records)]
    batches = [joining.join(records[a:b], ROUTES, NOW) for a, b in itertools.pairwise(edges)]
    for joined in (*batches, joining.expire(ROUTES, NOW + 1e6)):
        ids += [pair.id for pair in joined.pairs] + [row.id for row in joined.excluded]
    assert sorted(ids) == [f"x{number}" for number in range(6)]
    kept = {key[0] for joined in batches for key in joined.waiting}
    assert not joining.halves.kept
    assert kept >= {record.id for record in records if record.id == "x3"}
