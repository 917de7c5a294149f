from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy import (
    NO_STUDENT,
    PINNED,
    REASONS,
    SCREENED,
    STUDENT_UNAVAILABLE,
    TEACHER_UNAVAILABLE,
    plan_route,
)
from router.split import bucket
from router.types import (
    Arm,
    Ask,
    Capabilities,
    FallbackRule,
    Needs,
    RoutePlan,
    RouteState,
    Sampling,
    UnitOf,
)

T, S = Arm.TEACHER, Arm.STUDENT
SAMPLING = Sampling(forward_bp=10_000, reverse_bp=10_000, holdout_bp=0, salt="sampling", version=4)
KEYS = [f"user-{number}" for number in range(20_000)]


def route(**changes: Any) -> RouteState:
    usual = RouteState(name="r", teacher="gpt", student="triage", share_bp=5_000, salt="r/1", sampling=SAMPLING)
    return replace(usual, **changes)


def ask(sticky_key: str = "ann", **changes: Any) -> Ask:
    return Ask(request_id="id-1", sticky_key=sticky_key, utc_day="2026-11-24", needs=Needs())._replace(**changes)


def plan(route: RouteState, ask: Ask, *, teacher: bool = True, student: bool = True) -> RoutePlan:
    return plan_route(route, ask, teacher_available=teacher, student_available=student)


def key_of(arm: Arm) -> str:
    """A key that the split gives to `arm` at a share of 50 %."""
    return next(key for key in KEYS if (bucket("r/1", key) < 5_000) == (arm is S))


@pytest.mark.parametrize(("value", "rate"), [("passed", 1_000), ("open", 8_000), (None, 8_000)])
def test_what_has_passed_is_drawn_at_the_watching_rate(value: str | None, rate: int):
    sampling = replace(SAMPLING, forward_bp=8_000, slice="slice", watched=("passed",), watch_bp=1_000)
    slices = {} if value is None else {"slice": value}
    made = plan(route(sampling=sampling, share_bp=0), ask(slices=slices))
    assert (made.shadow_bp, made.floor_bp) == (rate, 1_000)
    reverse = plan(route(sampling=sampling, share_bp=10_000), ask(slices=slices))
    assert (reverse.shadow_bp, reverse.floor_bp) == (10_000, 10_000)


@pytest.mark.parametrize(
    ("assigned", "rule", "teacher", "student", "serve", "fallback", "reasons"),
    [
        # the student's turn
        (S, "teacher_only", True, True, S, T, ()),
        (S, "teacher_only", False, True, S, T, ()),
        (S, "teacher_only", True, False, T, None, (STUDENT_UNAVAILABLE,)),
        (S, "teacher_only", False, False, T, None, (STUDENT_UNAVAILABLE,)),
        (S, "both", True, True, S, T, ()),
        (S, "both", True, False, T, None, (STUDENT_UNAVAILABLE,)),
        (S, "both", False, False, T, None, (STUDENT_UNAVAILABLE,)),
        (S, "none", True, True, S, None, ()),
        (S, "none", True, False, T, None, (STUDENT_UNAVAILABLE,)),
        # the teacher's turn
        (T, "teacher_only", True, True, T, None, ()),
        (T, "teacher_only", False, True, T, None, ()),
        (T, "teacher_only", False, False, T, None, ()),
        (T, "both", True, True, T, S, ()),
        (T, "both", True, False, T, None, ()),
        (T, "both", False, True, S, T, (TEACHER_UNAVAILABLE,)),
        (T, "both", False, False, T, None, ()),
        (T, "none", True, True, T, None, ()),
        (T, "none", False, True, T, None, ()),
    ],
)
def test_who_serves_and_who_takes_over(
    *,
    assigned: Arm,
    rule: str,
    teacher: bool,
    student: bool,
    serve: Arm,
    fallback: Arm | None,
    reasons: tuple[str, ...],
):
    made = plan(route(fallback=FallbackRule(rule)), ask(key_of(assigned)), teacher=teacher, student=student)
    assert (made.assigned, made.serve, made.fallback, made.reasons) == (assigned, serve, fallback, reasons)
    assert made.in_population
    assert made.shadow is serve.other


def test_a_failing_student_stays_in_the_population_at_its_own_rate():
    """Intention to treat: the rate is that of the assigned arm, whoever serves."""
    rates = replace(SAMPLING, forward_bp=0, reverse_bp=10_000)
    made = plan(route(sampling=rates), ask(key_of(S)), student=False)
    assert (made.in_population, made.serve, made.shadow, made.shadow_bp) == (True, T, S, 10_000)
    assert plan(route(sampling=rates), ask(key_of(T))).shadow is None


@pytest.mark.parametrize(("share_bp", "assigned", "arm_bp"), [(0, T, 10_000), (10_000, S, 10_000)])
def test_the_ends_of_the_share_are_exact(share_bp: int, assigned: Arm, arm_bp: int):
    plans = [plan(route(share_bp=share_bp), ask(key)) for key in KEYS[:500]]
    assert {(made.assigned, made.serve, made.arm_bp) for made in plans} == {(assigned, assigned, arm_bp)}


def test_propensities_are_those_of_the_decision():
    for key in KEYS[:200]:
        made = plan(route(share_bp=1_000, sampling=replace(SAMPLING, forward_bp=300, reverse_bp=700)), ask(key))
        assert (made.arm_bp, made.shadow_bp) == ((1_000, 700) if made.assigned is S else (9_000, 300))
        assert (made.share_bp, made.policy_version, made.bucket) == (1_000, 4, bucket("r/1", key))


def test_shadows_and_holdout_are_drawn_at_their_rates_and_independently():
    rates = replace(SAMPLING, forward_bp=2_000, holdout_bp=1_000)
    plans = [plan(route(share_bp=0, sampling=rates), ask(key)) for key in KEYS]
    shadowed = sum(made.shadow is S for made in plans)
    held = sum(made.holdout for made in plans)
    both = sum(made.holdout and made.shadow is S for made in plans)
    assert abs(shadowed - 4_000) < 3 * 57
    assert abs(held - 2_000) < 3 * 43
    assert abs(both - 400) < 3 * 20


@pytest.mark.parametrize(("unit", "sampled_together"), [(UnitOf.CONVERSATION, True), (UnitOf.REQUEST, False)])
def test_a_unit_is_sampled_as_a_whole(unit: UnitOf, sampled_together: bool):
    rates = replace(SAMPLING, forward_bp=5_000)
    at_half = route(share_bp=0, unit=unit, sampling=rates)
    shadows = {plan(at_half, ask("ann", request_id=f"id-{number}")).shadow for number in range(50)}
    assert (len(shadows) == 1) == sampled_together


def test_who_opted_out_is_not_shadowed():
    made = plan(route(), ask(may_shadow=False))
    assert (made.shadow, made.shadow_bp, made.in_population) == (None, 0, True)


# --- outside the population -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pinned", "teacher", "student"), list(product(Arm, (True, False), (True, False))))
def test_a_pinned_request_gets_its_arm_whatever_the_breakers_say(pinned: Arm, teacher: bool, student: bool):
    for key in KEYS[:20]:
        made = plan(route(fallback=FallbackRule.BOTH), ask(key, pinned=pinned), teacher=teacher, student=student)
        assert (made.serve, made.fallback, made.shadow, made.reasons) == (pinned, None, None, (PINNED,))
        assert not made.in_population


def test_a_pin_wins_over_what_the_student_cannot_do():
    made = plan(route(), ask(pinned=S, needs=Needs(tools=True, vision=True)))
    assert (made.serve, made.reasons) == (S, (PINNED,))


@pytest.mark.parametrize("pinned", [None, T, S])
def test_without_a_student_the_teacher_serves_everything(pinned: Arm | None):
    made = plan(route(student=None, share_bp=10_000), ask(pinned=pinned), teacher=False)
    assert (made.serve, made.fallback, made.shadow, made.share_bp, made.arm_bp) == (T, None, None, 0, 10_000)
    assert made.reasons == ((NO_STUDENT,) if pinned is None else (PINNED, NO_STUDENT))
    assert not made.in_population


@pytest.mark.parametrize(
    ("needs", "can", "reasons"),
    [
        (Needs(endpoint="responses"), Capabilities(), ("endpoint",)),
        (Needs(prompt_tokens_at_least=90, output_tokens=11), Capabilities(context_tokens=100), ("context",)),
        (Needs(tools=True), Capabilities(), ("tools",)),
        (Needs(structured=True), Capabilities(), ("structured",)),
        (Needs(vision=True), Capabilities(), ("vision",)),
        (Needs(audio=True), Capabilities(), ("audio",)),
        (Needs(logprobs=True), Capabilities(logprobs=False), ("logprobs",)),
        (Needs(hosted_tools=True), Capabilities(tools=True), ("hosted_tools",)),
        (Needs(stateful="previous_response_id"), Capabilities(), ("stateful",)),
        (Needs(tools=True, stateful="file_id", endpoint="x"), Capabilities(), ("endpoint", "tools", "stateful")),
    ],
)
def test_what_the_student_cannot_do_goes_to_the_teacher_by_reason(
    needs: Needs, can: Capabilities, reasons: tuple[str, ...]
):
    made = plan(route(can=can, share_bp=10_000), ask(needs=needs))
    assert (made.serve, made.fallback, made.shadow, made.shadow_bp) == (T, None, None, 0)
    assert made.reasons == reasons
    assert not made.in_population


@pytest.mark.parametrize(
    ("needs", "can"),
    [
        (Needs(prompt_tokens_at_least=90, output_tokens=10), Capabilities(context_tokens=100)),
        (Needs(prompt_tokens_at_least=10**9), Capabilities()),
        (Needs(tools=True, structured=True), Capabilities(tools=True, structured=True)),
        (Needs(vision=True, audio=True, logprobs=True), Capabilities(vision=True, audio=True)),
        (Needs(endpoint="responses"), Capabilities(endpoints=frozenset({"responses"}))),
    ],
)
def test_what_the_student_can_do_is_not_screened(needs: Needs, can: Capabilities):
    assert plan(route(can=can, share_bp=10_000), ask(needs=needs)).serve is S


def test_every_need_has_its_reason():
    by_reason = {"prompt_tokens_at_least": "context", "output_tokens": "context"}
    assert {by_reason.get(need, need) for need in Needs._fields} == set(SCREENED)


ANY_NEEDS = st.builds(
    Needs, endpoint=st.sampled_from(["chat.completions", "responses"]), tools=st.booleans(), vision=st.booleans()
)
ANY_ASK = st.builds(
    Ask, request_id=st.text(), sticky_key=st.text(), utc_day=st.just("2026-11-24"), needs=ANY_NEEDS,
    pinned=st.sampled_from([None, T, S]), may_shadow=st.booleans(),
)  # fmt: skip
RATES = st.integers(0, 10_000)
ANY_ROUTE = st.builds(
    RouteState, name=st.just("r"), teacher=st.just("gpt"), student=st.sampled_from([None, "triage"]), share_bp=RATES,
    salt=st.just("r/1"), unit=st.sampled_from(UnitOf), fallback=st.sampled_from(FallbackRule),
    sampling=st.builds(Sampling, forward_bp=RATES, reverse_bp=RATES, holdout_bp=RATES, salt=st.just("s")),
)  # fmt: skip


@given(ANY_ROUTE, ANY_ASK, st.booleans(), st.booleans())
def test_every_plan_can_be_explained(state: RouteState, asked: Ask, teacher: bool, student: bool):
    made = plan(state, asked, teacher=teacher, student=student)
    assert set(made.reasons) <= set(REASONS)
    assert made.serve is made.assigned or made.reasons, "another arm than the split's has its reason"
    assert made.fallback is not made.serve
    assert made.shadow in (None, made.serve.other)
    assert not (state.student is None and S in (made.serve, made.fallback, made.shadow))
    assert made.in_population == (not {*made.reasons} & {NO_STUDENT, PINNED, *SCREENED})
    if not made.in_population:
        assert (made.fallback, made.shadow) == (None, None)
    if asked.pinned is None and not student:
        assert made.serve is T
    assert made == plan(state, asked, teacher=teacher, student=student)
