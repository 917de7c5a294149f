"""What one sampled exchange comes to: a pair, or the reason why there is none. Pure.

The law (intention to treat): whatever was sampled at admission is accounted for. A student that failed, timed out,
refused or fell back stays in the pair with its failed attempt; only what says nothing of either answer is excluded,
always by name. The direction of a pair is the *assigned* arm's. An exchange with a successor comes to a pair of its own.

Owns the reasons. Must not know halves, spools or stores: `tutelage.control.join` says when an exchange is whole.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from router.policy import STUDENT_UNAVAILABLE
from router.rollout import Rollout
from router.split import sampled
from router.types import FULL_BP, Arm, Direction, UnitOf
from tutelage.contracts.decisions import Epoch
from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import CONTENT_LOST, Attempt, Exchange, Json, ShadowAttempt
from tutelage.store.base import Exclusion

NOT_IN_POPULATION = "not_in_population"
LOG_OFF = "log_off"
NO_STUDENT = "no_student"
BOTH_REFUSED = "both_refused"
TRUNCATED = "truncated"
CLIENT_GONE = "client_gone"
GATEWAY_DIED = "gateway_died"
EXCHANGE_LOST = "exchange_lost"
SHUTDOWN = "shutdown"
TEACHER_LOST = "teacher_lost"
REQUEST_LOST = "request_lost"
BEFORE_TRAINED_UNTIL = "before_trained_until"
SUPERSEDED = "superseded"
OTHER_VERSION = "other_version"
PARITY = "parity"
NO_RUBRIC = "no_rubric"
NO_TEXT = "no_text"
"""The endpoint answers vectors: nothing that a rubric could read."""
NOT_DRAWN = "not_drawn"
"""Left out by the judge's rate: drawn by hash, before content is seen."""

RESCORE = "rescore"
SUCCESSOR = "-successor"
"""What a pair's id ends with whose student is a successor."""
BREAKER_OPEN = "breaker_open"
EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRoute:
    """What the join must know of a route. `patience_s` is how long after serving a shadow attempt may still come.
    `successor` is the same of a student that is measured beside the serving one. `training_use` says by upstream what its
    provider's terms allow; of one that is configured no longer nobody knows. `reader` is what checks make of one attempt, given
    the request and the hash of its input, in [0, 1]; None: they are not asked."""

    rollout: Rollout
    epoch: Epoch
    unit: UnitOf = UnitOf.REQUEST
    judge_bp: int = FULL_BP
    patience_s: float = 660.0
    successor: "JoinRoute | None" = None
    training_use: Mapping[str, str] = field(default_factory=dict)
    reader: Callable[[Attempt, Json, str | None], float] | None = None


Conclusions = tuple[Pair | Exclusion, ...]
"""What an exchange comes to."""


def expected_shadows(exchange: Exchange) -> int:
    """How many shadow records a sampled exchange comes with: one more where a client hung up, whose served arm is asked
    again, and one more where a successor is asked as well."""
    return 1 + exchange.client_gone + (exchange.successor is not None)


def conclusions(exchange: Exchange, shadows: Sequence[ShadowAttempt], route: JoinRoute | None) -> Conclusions:
    """What one sampled exchange comes to, all of whose records are there or late; with a successor, a pair of its own."""
    if route is None:
        return (_exclusion(exchange, NO_STUDENT, None),)
    if exchange.successor is None:
        return (conclude(exchange, shadows, route),)
    own = [shadow for shadow in shadows if _version(shadow.attempt) != exchange.successor]
    serving = conclude(msgspec.structs.replace(exchange, successor=None), own, route)
    beside = _beside(exchange, shadows, route)
    return (serving,) if beside is None else (serving, beside)


def _beside(exchange: Exchange, shadows: Sequence[ShadowAttempt], route: JoinRoute) -> Pair | Exclusion | None:
    """The successor's pair, or why there is none; None where it is nobody's."""
    heir = route if route.epoch.student == exchange.successor else route.successor
    if heir is None or heir.epoch.student != exchange.successor:
        return None
    names = (exchange.successor, *(_version(attempt) for attempt in exchange.attempts))
    own = [shadow for shadow in shadows if shadow.attempt is None or _version(shadow.attempt) in names]
    alone = msgspec.structs.replace(exchange, successor=None, epoch=heir.epoch.id)
    found = conclude(alone, own, heir)
    if isinstance(found, Exclusion):
        return replace(found, id=found.id + SUCCESSOR)
    return msgspec.structs.replace(found, id=found.id + SUCCESSOR)


def _version(attempt: Attempt | None) -> str | None:
    return None if attempt is None else f"{attempt.upstream}@{attempt.version}"


def conclude(exchange: Exchange, shadows: Iterable[ShadowAttempt], route: JoinRoute) -> Pair | Exclusion:
    """One sampled exchange, all of whose records are there or late, as a pair or as the reason why there is none."""
    shadows = tuple(shadows)
    teacher, student = _answer_of(Arm.TEACHER, exchange, shadows), _answer_of(Arm.STUDENT, exchange, shadows)
    reason = _no_pair(exchange, shadows, teacher, student)
    if reason is not None:
        return _exclusion(exchange, reason, route)
    if STUDENT_UNAVAILABLE in exchange.plan.reasons and student is not None and student.error is None:
        # Sampled as the student's, which did not serve it: that is its failure, whatever it answers beside.
        student = msgspec.structs.replace(student, error=BREAKER_OPEN)
    differences = _differences(exchange, shadows)
    return Pair(
        id=exchange.id,
        route=exchange.route,
        epoch=exchange.epoch,
        attempt_number=_attempt_number(exchange, route.rollout),
        revision=exchange.revision,
        direction=direction_of(exchange),
        admitted_at=exchange.admitted_at,
        sticky_key=exchange.conversation,
        unit_id=exchange.id if route.unit is UnitOf.REQUEST else exchange.conversation,
        endpoint=exchange.endpoint,
        request=exchange.request,
        input_hash=exchange.input_hash,
        teacher=teacher,
        student=student,
        policy=exchange.policy,
        shadow_bp=exchange.plan.shadow_bp,
        floor_bp=exchange.plan.floor_bp,
        policy_version=exchange.plan.policy_version,
        judge_bp=route.judge_bp,
        holdout=exchange.plan.holdout,
        parity=differences,
        excluded=_excluded(exchange, route, differences, teacher, student),
        training_use="unknown" if teacher is None else route.training_use.get(teacher.upstream, "unknown"),
        slices=exchange.slices,
    )


def _no_pair(
    exchange: Exchange, shadows: tuple[ShadowAttempt, ...], teacher: Attempt | None, student: Attempt | None
) -> str | None:
    """Why no pair can be made of this exchange; None where one can."""
    if not exchange.plan.in_population:
        return exchange.plan.reasons[0] if exchange.plan.reasons else NOT_IN_POPULATION
    if exchange.policy.log != "full":
        return LOG_OFF
    if exchange.cause == SHUTDOWN:
        return SHUTDOWN
    missing = _half_missing(exchange, shadows, teacher)
    if missing is not None:
        return missing
    if _cut_by_us(exchange):
        return TRUNCATED
    if teacher is not None and student is not None and _refused(teacher) and _refused(student):
        return BOTH_REFUSED
    if teacher is not None and teacher.error in CONTENT_LOST:
        return teacher.error
    answered = student is not None and student.error is None
    return REQUEST_LOST if exchange.request is None and answered else None


def _half_missing(exchange: Exchange, shadows: tuple[ShadowAttempt, ...], teacher: Attempt | None) -> str | None:
    """Why there is nothing to compare with. A student's answer that was lost keeps its pair: it counts as the worst."""
    lost = {shadow.lost for shadow in shadows if shadow.attempt is None and shadow.lost is not None}
    if SHUTDOWN in lost:
        return SHUTDOWN
    asked_again = any(shadow.attempt is not None and shadow.attempt.purpose == RESCORE for shadow in shadows)
    if exchange.client_gone and not asked_again:
        return CLIENT_GONE if shadows else GATEWAY_DIED
    if len(shadows) < expected_shadows(exchange):
        return GATEWAY_DIED
    return TEACHER_LOST if teacher is None else None


def _cut_by_us(exchange: Exchange) -> bool:
    """The gateway ended the answer, not its upstream: what there is of it says nothing."""
    served = [attempt for attempt in exchange.attempts if attempt.arm is exchange.served_arm]
    return exchange.truncated and not any(attempt.broke or attempt.error for attempt in served[-1:])


def _excluded(
    exchange: Exchange,
    route: JoinRoute,
    differences: tuple[str, ...],
    teacher: Attempt | None,
    student: Attempt | None,
) -> str | None:
    """Why no gate may read this pair; None where it counts."""
    epoch, rollout = route.epoch, route.rollout
    if exchange.epoch != epoch.id or exchange.revision < rollout.since.evidence:
        return SUPERSEDED
    if epoch.trained_until is not None and exchange.admitted_at < epoch.trained_until:
        return BEFORE_TRAINED_UNTIL
    if _other_version(teacher, epoch.teacher) or _other_version(student, epoch.student):
        return OTHER_VERSION
    if differences:
        return PARITY
    if exchange.endpoint == EMBEDDINGS:
        return NO_TEXT
    if epoch.rubric is None:
        return NO_RUBRIC
    return None if _drawn(exchange, route) else NOT_DRAWN


def _answer_of(arm: Arm, exchange: Exchange, shadows: tuple[ShadowAttempt, ...]) -> Attempt | None:
    """The attempt that stands for `arm`: where it was assigned and failed, that failure; asked again only for a
    client that hung up."""
    asked_again = [s.attempt for s in shadows if s.attempt is not None and s.attempt.arm is arm]
    rescored = [attempt for attempt in asked_again if attempt.purpose == RESCORE]
    served = [attempt for attempt in exchange.attempts if attempt.arm is arm]
    for candidates in (rescored, served, asked_again):
        if candidates:
            return candidates[-1]
    return None


def _refused(attempt: Attempt) -> bool:
    """The upstream said that the request is at fault. 429 is back-pressure, 408 a timeout, 401 and 403 a wrong key:
    ours.
    """
    return attempt.status is not None and 400 <= attempt.status < 500 and attempt.status not in (401, 403, 408, 429)


def _differences(exchange: Exchange, shadows: tuple[ShadowAttempt, ...]) -> tuple[str, ...]:
    """A row without its content has no parameters to compare."""
    if exchange.request is None:
        return ()
    compared = [shadow for shadow in shadows if shadow.attempt is not None and shadow.lost is None]
    return ("params",) if any(shadow.params_hash != exchange.params_hash for shadow in compared) else ()


def _other_version(attempt: Attempt | None, declared: str) -> bool:
    return attempt is not None and _version(attempt) != declared


def _attempt_number(exchange: Exchange, rollout: Rollout) -> int:
    return rollout.attempt if exchange.salt == rollout.salt else max(1, rollout.attempt - 1)


def orphan_direction(shadow: ShadowAttempt) -> Direction:
    """The direction of an exchange that was lost, by what was asked beside it; where that is lost too, the promotion's."""
    attempt = shadow.attempt
    asked_teacher = attempt is not None and attempt.purpose != RESCORE and attempt.arm is Arm.TEACHER
    return Direction.REVERSE if asked_teacher else Direction.FORWARD


def direction_of(exchange: Exchange) -> Direction:
    return Direction.REVERSE if exchange.plan.assigned is Arm.STUDENT else Direction.FORWARD


def is_counted(exchange: Exchange, route: JoinRoute | None) -> bool:
    """Whether a pair of this exchange would be one of those that are judged."""
    return route is not None and exchange.plan.in_population and _drawn(exchange, route)


def _drawn(exchange: Exchange, route: JoinRoute) -> bool:
    """Whether the judge's rate takes it."""
    name = exchange.id if route.unit is UnitOf.REQUEST else exchange.conversation
    return sampled(f"{route.rollout.salt}/judge", name, "", route.judge_bp)


def _exclusion(exchange: Exchange, reason: str, route: JoinRoute | None) -> Exclusion:
    """What is lost counts among the pairs that it would have been one of: those of its direction that are judged."""
    return Exclusion(
        id=exchange.id,
        route=exchange.route,
        epoch=exchange.epoch,
        reason=reason,
        at=exchange.admitted_at,
        revision=exchange.revision,
        direction=direction_of(exchange) if is_counted(exchange, route) else None,
    )
