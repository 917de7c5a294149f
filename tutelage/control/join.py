"""The join: an exchange and the shadow attempts that belong to it become one pair, or one counted reason.

The law (intention to treat): whatever was sampled at admission is accounted for. A student that failed, timed out,
refused or fell back stays in the pair with its failed attempt; only what says nothing of either answer is excluded,
always by name. The direction of a pair is the *assigned* arm's.

`Joiner` is pure: records in, `Joined` out; it keeps halves in memory and says which of them must be kept in the
store. `Tail` is the thin reader around it. Whatever fails between reading and committing, `Tail` forgets all it has
in memory and reads what the store holds: positions and halves are committed together, so nothing is lost or counted
twice.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import structlog

from router.policy import STUDENT_UNAVAILABLE
from router.rollout import Rollout
from router.split import sampled
from router.types import FULL_BP, Arm, Direction, UnitOf
from scoring.economics import spendings_of
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.records import (
    Attempt,
    Epoch,
    Exchange,
    Feedback,
    Pair,
    ShadowAttempt,
    Spooled,
    decode_spooled,
    encode,
)
from tutelage.control.feedback import Attacher, Said
from tutelage.store.base import Exclusion, Joined, Store
from tutelage.store.spool import SpooledRow, read_after, read_one, spools

log = structlog.get_logger()

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
CONTENT_LOST = ("too_large", "redaction_failed")
"""A call that was made and whose answer could not be kept."""
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
_SETTLED_KEPT = 20_000
_ROWS_AT_ONCE = 500
_EXPIRE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRoute:
    """What the join must know of a route. `patience_s` is how long after serving a shadow attempt may still come.
    `successor` is the same of a student that is measured beside the serving one."""

    rollout: Rollout
    epoch: Epoch
    unit: UnitOf = UnitOf.REQUEST
    judge_bp: int = FULL_BP
    patience_s: float = 660.0
    successor: "JoinRoute | None" = None


Conclusions = tuple[Pair | Exclusion, ...]
"""What an exchange comes to."""


@dataclass(slots=True)
class Halves:
    """Records that wait for their other half, by exchange id. `kept` are record ids that the store holds too."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    shadows: dict[str, list[ShadowAttempt]] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    settled: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def take(self, record: Spooled, now: float) -> str | None:
        """Keep a record that belongs to a sampled exchange; its exchange id, None where nobody waits for it."""
        if isinstance(record, Feedback):
            return None
        if isinstance(record, Exchange):
            if record.plan.shadow is None or record.id in self.settled:
                return None
            self.exchanges[record.id] = record
            name = record.id
        else:
            if record.exchange_id in self.settled:
                return None
            held = self.shadows.setdefault(record.exchange_id, [])
            if all(other.id != record.id for other in held):
                held.append(record)
            name = record.exchange_id
        self.arrived.setdefault(name, now)
        return name

    def records(self, exchange_id: str) -> list[Exchange | ShadowAttempt]:
        """What is held of one exchange."""
        exchange = self.exchanges.get(exchange_id)
        return [*([] if exchange is None else [exchange]), *self.shadows.get(exchange_id, ())]

    def drop(self, exchange_id: str) -> list[str]:
        """Forget one exchange; the record ids that the store may forget too."""
        used = [record.id for record in self.records(exchange_id) if record.id in self.kept]
        self.kept.difference_update(used)
        self.exchanges.pop(exchange_id, None)
        self.shadows.pop(exchange_id, None)
        self.arrived.pop(exchange_id, None)
        self.settled[exchange_id] = None
        if len(self.settled) > _SETTLED_KEPT:
            self.settled.popitem(last=False)
        return used


class Joiner:
    """Joins one batch after the other. `paired` tells whether a pair of that id exists already."""

    def __init__(self, halves: Halves, paired: Callable[[str], bool]) -> None:
        self.halves = halves
        self._paired = paired

    def join(self, records: Iterable[Spooled], routes: Mapping[str, JoinRoute], now: float) -> Joined:
        """What the batch came to, with the halves before it: every exchange all of whose records are there."""
        touched = list(dict.fromkeys(name for record in records if (name := self.halves.take(record, now)) is not None))
        concluded = [(name, self._complete(name, routes)) for name in touched]
        joined = self._settle([(name, come_to) for name, come_to in concluded if come_to])
        return replace(joined, waiting=self._newly_waiting(touched))

    def expire(self, routes: Mapping[str, JoinRoute], now: float) -> Joined:
        """What the halves came to whose other half is overdue. Call it only where every spool has been read to its
        end.
        """
        overdue = [name for name in self.halves.arrived if now >= self._deadline(name, routes)]
        return self._settle([(name, self._overdue(name, routes)) for name in overdue])

    def _settle(self, concluded: list[tuple[str, Conclusions]]) -> Joined:
        done = [record for name, _ in concluded for record in self.halves.drop(name)]
        come_to = [conclusion for _, conclusions in concluded for conclusion in conclusions]
        return Joined(
            pairs=[pair for pair in come_to if isinstance(pair, Pair)],
            excluded=[exclusion for exclusion in come_to if isinstance(exclusion, Exclusion)],
            done=done,
        )

    def _complete(self, name: str, routes: Mapping[str, JoinRoute]) -> Conclusions:
        """What a whole exchange comes to; nothing while a half is waited for."""
        exchange = self.halves.exchanges.get(name)
        shadows = self.halves.shadows.get(name, [])
        if exchange is None or len(shadows) < expected_shadows(exchange):
            return ()
        return conclusions(exchange, shadows, routes.get(exchange.route))

    def _overdue(self, name: str, routes: Mapping[str, JoinRoute]) -> Conclusions:
        exchange = self.halves.exchanges.get(name)
        shadows = self.halves.shadows.get(name, [])
        route = routes.get(exchange.route if exchange is not None else shadows[0].route)
        return self._orphan(name, shadows[0], route) if exchange is None else conclusions(exchange, shadows, route)

    def _orphan(self, name: str, shadow: ShadowAttempt, route: JoinRoute | None) -> Conclusions:
        """Shadow attempts without their exchange: the spool lost it, or the pair was made before they came."""
        if self._paired(name):
            return ()
        epoch, revision = ("", 0) if route is None else (route.epoch.id, route.rollout.revision)
        lost = Exclusion(
            id=name, route=shadow.route, epoch=epoch, reason=EXCHANGE_LOST, at=shadow.ended_at, revision=revision
        )
        return (lost,)

    def _deadline(self, name: str, routes: Mapping[str, JoinRoute]) -> float:
        """Until when the other half may come: from the end of serving, or from the shadow's own end."""
        exchange = self.halves.exchanges.get(name)
        if exchange is None:
            shadow = self.halves.shadows[name][0]
            ended, route = shadow.ended_at, routes.get(shadow.route)
        else:
            ended, route = exchange.admitted_at + exchange.ended_ms / 1000, routes.get(exchange.route)
        return ended + (0.0 if route is None else route.patience_s)

    def _newly_waiting(self, touched: list[str]) -> dict[tuple[str, str], bytes]:
        waiting: dict[tuple[str, str], bytes] = {}
        for name in touched:
            for record in self.halves.records(name):
                if record.id not in self.halves.kept:
                    waiting[record.id, name] = encode(record)
                    self.halves.kept.add(record.id)
        return waiting


# --- what one exchange comes to ---------------------------------------------------------------------------------------


def expected_shadows(exchange: Exchange) -> int:
    """How many shadow records a sampled exchange comes with: one more where a client hung up, whose served arm is asked
    again, and one more where a successor is asked as well."""
    return 1 + exchange.client_gone + (exchange.successor is not None)


def conclusions(exchange: Exchange, shadows: Sequence[ShadowAttempt], route: JoinRoute | None) -> Conclusions:
    """What one sampled exchange comes to, all of whose records are there or late; with a successor, a pair of its own."""
    if route is None:
        return (_exclusion(exchange, NO_STUDENT),)
    if exchange.successor is None:
        return (conclude(exchange, shadows, route),)
    own = [shadow for shadow in shadows if _version(shadow.attempt) != exchange.successor]
    serving = conclude(msgspec.structs.replace(exchange, successor=None), own, route)
    beside = _beside(exchange, shadows, route)
    return (serving,) if beside is None else (serving, beside)


def _beside(exchange: Exchange, shadows: Sequence[ShadowAttempt], route: JoinRoute) -> Pair | None:
    """The successor's pair. What is none is counted once, as the serving student's."""
    heir = route if route.epoch.student == exchange.successor else route.successor
    if heir is None or heir.epoch.student != exchange.successor:
        return None
    names = (exchange.successor, *(_version(attempt) for attempt in exchange.attempts))
    own = [shadow for shadow in shadows if shadow.attempt is None or _version(shadow.attempt) in names]
    alone = msgspec.structs.replace(exchange, successor=None, epoch=heir.epoch.id)
    pair = conclude(alone, own, heir)
    return msgspec.structs.replace(pair, id=pair.id + SUCCESSOR) if isinstance(pair, Pair) else None


def _version(attempt: Attempt | None) -> str | None:
    return None if attempt is None else f"{attempt.upstream}@{attempt.version}"


def conclude(exchange: Exchange, shadows: Iterable[ShadowAttempt], route: JoinRoute) -> Pair | Exclusion:
    """One sampled exchange, all of whose records are there or late, as a pair or as the reason why there is none."""
    shadows = tuple(shadows)
    teacher, student = _answer_of(Arm.TEACHER, exchange, shadows), _answer_of(Arm.STUDENT, exchange, shadows)
    reason = _no_pair(exchange, shadows, teacher, student)
    if reason is not None:
        return _exclusion(exchange, reason)
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
        direction=Direction.REVERSE if exchange.plan.assigned is Arm.STUDENT else Direction.FORWARD,
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
    name = exchange.id if route.unit is UnitOf.REQUEST else exchange.conversation
    return None if sampled(f"{rollout.salt}/judge", name, "", route.judge_bp) else NOT_DRAWN


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


def _exclusion(exchange: Exchange, reason: str) -> Exclusion:
    return Exclusion(
        id=exchange.id,
        route=exchange.route,
        epoch=exchange.epoch,
        reason=reason,
        at=exchange.admitted_at,
        revision=exchange.revision,
    )


# --- reading ----------------------------------------------------------------------------------------------------------


class Tail:
    """Follows every spool under `data_dir` and commits what the join makes of it."""

    def __init__(self, store: Store, data_dir: Path, watch: Callable[[Spooled], None] = lambda record: None) -> None:
        """`watch` sees every record once it is committed: for counting only."""
        self._store = store
        self._data_dir = data_dir
        self._watch = watch
        self._joiner: Joiner | None = None
        self._attacher = Attacher(self._exchange)
        self._positions: dict[str, int] = {}
        self._expired_at = 0.0
        self._unread: set[str] = set()
        self.behind = False
        self.unreadable = 0

    def read(self, routes: Mapping[str, JoinRoute], now: float) -> Joined:
        """One batch: up to 500 rows of each spool, one commit. What it came to.

        Raises StoreUnavailable where the store did not take it; the next call begins with what the store holds.
        """
        try:
            joiner = self._joiner or self._recall(now)
            records, positions = self._rows()
            joined = _with_feedback(joiner.join(records, routes, now), self._attacher.take(records))
            joined = replace(joined, positions=positions, spent=spendings_of(records))
            self._commit(joined)
            self._positions.update(positions)
            for record in records:
                self._watch(record)
            if not (self.behind or self._unread) and now >= self._expired_at + _EXPIRE_EVERY_S:
                self._expired_at = now
                expired = _with_feedback(joiner.expire(routes, now), self._attacher.expire(now))
                self._commit(expired)
                joined = _both(joined, expired)
        except Exception:
            self.forget()
            raise
        return joined

    def _commit(self, joined: Joined) -> None:
        if any((joined.pairs, joined.excluded, joined.feedback, joined.waiting, joined.done, joined.positions)):
            self._store.join(joined)

    def forget(self) -> None:
        """Drop what is in memory: the next reading begins with what the store holds."""
        self._joiner = None

    @property
    def waiting(self) -> int:
        """Exchanges that wait for their other half."""
        return 0 if self._joiner is None else len(self._joiner.halves.arrived)

    def overdue(self, before: float) -> dict[str, int]:
        """By route, the exchanges that ended before `before` and still wait for their other half."""
        waiting: dict[str, int] = {}
        for exchange in () if self._joiner is None else self._joiner.halves.exchanges.values():
            if exchange.admitted_at + exchange.ended_ms / 1000 < before:
                waiting[exchange.route] = waiting.get(exchange.route, 0) + 1
        return waiting

    def _recall(self, now: float) -> Joiner:
        halves = Halves()
        self._attacher = Attacher(self._exchange)
        for body in self._store.waiting_halves():
            record = decode_spooled(body)
            if isinstance(record, Feedback):
                self._attacher.recall(record)
                continue
            halves.take(record, now)
            halves.kept.add(record.id)
        self._positions = dict(self._store.positions())
        self._joiner = Joiner(halves, lambda name: self._store.pair(name) is not None)
        return self._joiner

    def _rows(self) -> tuple[list[Spooled], dict[str, int]]:
        """The next records of all spools, and the positions after them."""
        records: list[Spooled] = []
        positions: dict[str, int] = {}
        self.behind = False
        for gateway, path in spools(self._data_dir).items():
            try:
                rows = read_after(path, self._positions.get(gateway, 0), _ROWS_AT_ONCE)
            except StoreUnavailable as fault:
                log.warning("a spool cannot be read now", gateway=gateway, fault=str(fault))
                self._unread.add(gateway)
                continue
            self._unread.discard(gateway)
            self.behind = self.behind or len(rows) == _ROWS_AT_ONCE
            if rows:
                positions[gateway] = rows[-1].sequence
                records += filter(None, map(self._decoded, rows))
        return records, positions

    def _exchange(self, name: str) -> Exchange | None:
        """An exchange by its id, from whichever spool holds it."""
        for path in spools(self._data_dir).values():
            with suppress(StoreUnavailable, msgspec.DecodeError):
                body = read_one(path, name)
                record = None if body is None else decode_spooled(body)
                if isinstance(record, Exchange):
                    return record
        return None

    def _decoded(self, row: SpooledRow) -> Spooled | None:
        try:
            return decode_spooled(row.body)
        except msgspec.DecodeError as fault:
            self.unreadable += 1
            log.warning("a spooled record cannot be read; it is counted and skipped", record=row.id, fault=str(fault))
            return None


def _with_feedback(joined: Joined, said: Said) -> Joined:
    return replace(
        joined,
        feedback=said.attached,
        unattached=said.dropped,
        waiting={**joined.waiting, **said.waiting},
        done=[*joined.done, *said.done],
    )


def _both(read: Joined, expired: Joined) -> Joined:
    """For counting: what two commits came to."""
    return replace(
        read,
        pairs=[*read.pairs, *expired.pairs],
        excluded=[*read.excluded, *expired.excluded],
        feedback=[*read.feedback, *expired.feedback],
        unattached=[*read.unattached, *expired.unattached],
    )
