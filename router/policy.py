"""The policy: one request's RoutePlan, decided before anything is known of the answer.

Owns the order of reasons: no student, pinned, what the student cannot do; then the split; then open breakers. Must not
know HTTP, upstreams or clocks; it waits for nothing and raises nothing. Every reason that it gives is in `REASONS`.

Two things are kept apart on purpose. *Who serves* follows what works now: an open breaker moves the request. *What is
sampled* follows the split alone (intention to treat): a request that fell to the student stays in the population at the
student's rate though its breaker is open, because that is the student's failure. The shadow is then the arm that does not
serve; the pair's direction is the assigned arm's.

A new need of requests: a field in `Needs` and `Capabilities`, one line in `_lacking`, its name in `SCREENED`.
"""

from router.split import bucket, is_student, sampled
from router.types import (
    FULL_BP,
    STUDENT,
    TEACHER,
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

NO_STUDENT = "no_student"
PINNED = "pinned"
SCREENED = (
    "endpoint", "context", "tools", "structured", "vision", "audio", "logprobs", "hosted_tools", "stateful",
)  # fmt: skip
STUDENT_UNAVAILABLE = "student_unavailable"
TEACHER_UNAVAILABLE = "teacher_unavailable"
REASONS = (NO_STUDENT, PINNED, *SCREENED, STUDENT_UNAVAILABLE, TEACHER_UNAVAILABLE)
_BOTH, _NOBODY, _REQUEST = FallbackRule.BOTH, FallbackRule.NONE, UnitOf.REQUEST


def plan_route(route: RouteState, ask: Ask, *, teacher_available: bool, student_available: bool) -> RoutePlan:
    """The plan for `ask`; availability is what each arm's breaker says now.

    The teacher is the last resort: where nobody may serve in its place it is planned though its breaker is open, so that
    the client gets the true error. A pin to the student of a route without one is given to the teacher, with both
    reasons; the caller refuses it.
    """
    request_id, sticky_key, utc_day, needs, pinned, _, _ = ask  # by name each would be a look-up
    share_bp = 0 if route.student is None else route.share_bp
    place = bucket(route.salt, sticky_key)
    assigned = STUDENT if is_student(place, share_bp) else TEACHER
    outside = _outside(route, pinned, needs)
    if outside:
        serve, reasons, fallback, shadow_bp, floor_bp = _serving_outside(outside, pinned), outside, None, 0, 0
    else:
        serve, reasons = _serving(route.fallback, assigned, teacher_available, student_available)
        fallback = _fallback(route.fallback, serve, student_available)
        shadow_bp, floor_bp = _shadow_bp(route.sampling, ask, assigned)
    sampling = route.sampling
    unit = request_id if route.unit is _REQUEST else sticky_key
    return RoutePlan(  # in the order of its fields: named ones cost three times as much
        serve,
        assigned,
        fallback,
        serve.other if sampled(sampling.salt, unit, utc_day, shadow_bp) else None,
        sampling.holdout_bp > 0 and sampled(f"{sampling.salt}/holdout", unit, utc_day, sampling.holdout_bp),
        not outside,
        reasons,
        place,
        share_bp,
        share_bp if assigned is STUDENT else FULL_BP - share_bp,
        shadow_bp,
        floor_bp,
        sampling.version,
    )


def _outside(route: RouteState, pinned: Arm | None, needs: Needs) -> tuple[str, ...]:
    """Why gates must not read this request; empty where they may."""
    if pinned is not None:
        return (PINNED, NO_STUDENT) if route.student is None else (PINNED,)
    if route.student is None:
        return (NO_STUDENT,)
    return _lacking(route.can, needs)


def _lacking(can: Capabilities, needs: Needs) -> tuple[str, ...]:
    """What the request needs and the student does not declare, in the order of `SCREENED`."""
    endpoint, prompt, output, tools, structured, vision, audio, logprobs, hosted_tools, stateful = needs
    lacks = (
        endpoint not in can.endpoints,
        can.context_tokens is not None and prompt + output > can.context_tokens,
        tools and not can.tools,
        structured and not can.structured,
        vision and not can.vision,
        audio and not can.audio,
        logprobs and not can.logprobs,
        hosted_tools,
        stateful is not None,
    )
    return tuple(name for name, lack in zip(SCREENED, lacks, strict=True) if lack) if True in lacks else ()


def _serving_outside(reasons: tuple[str, ...], pinned: Arm | None) -> Arm:
    return pinned if pinned is not None and NO_STUDENT not in reasons else TEACHER


def _serving(
    rule: FallbackRule,
    assigned: Arm,
    teacher_available: bool,  # noqa: FBT001 - a fact, not a switch
    student_available: bool,  # noqa: FBT001 - a fact, not a switch
) -> tuple[Arm, tuple[str, ...]]:
    """The assigned arm, or the other one where its breaker is open and the other may take its place."""
    if assigned is STUDENT:
        return (STUDENT, ()) if student_available else (TEACHER, (STUDENT_UNAVAILABLE,))
    if not teacher_available and student_available and rule is _BOTH:
        return STUDENT, (TEACHER_UNAVAILABLE,)
    return TEACHER, ()


def _fallback(
    rule: FallbackRule,
    serve: Arm,
    student_available: bool,  # noqa: FBT001 a fact, not a switch
) -> Arm | None:
    """Who takes over before the first byte. The teacher even where its breaker is open now: it is the last resort."""
    if serve is STUDENT:
        return None if rule is _NOBODY else TEACHER
    return STUDENT if rule is _BOTH and student_available else None


def _shadow_bp(sampling: Sampling, ask: Ask, assigned: Arm) -> tuple[int, int]:
    """The rate at which this request is drawn, and the lowest rate at which one of its direction is."""
    if not ask.may_shadow:
        return 0, 0
    if assigned is STUDENT:
        return sampling.reverse_bp, sampling.reverse_bp
    if not sampling.watched:
        return sampling.forward_bp, sampling.forward_bp
    passed = ask.slices.get(sampling.slice) in sampling.watched
    return sampling.watch_bp if passed else sampling.forward_bp, min(sampling.watch_bp, sampling.forward_bp)
