"""What a student saves: against what its teacher would really have cost, after everything that watching it costs.

Owns   the accounts, the sum over them (`Statement`), the break-even against fixed costs.
Knows not  prices (`tutelage.contracts.prices`), stores, how it is shown. What is not known is None, never 0: an account
with a call of unknown price makes the net unknown, and says so.

| account | what is in it |
|---|---|
| teacher | the teacher's answers to users |
| student | the student's answers to users |
| shadow | the student asked beside the teacher |
| reverse | the teacher asked beside the student: what it really would have cost |
| rescore | an arm asked again because its client hung up |
| judge | judge calls |

    net = (student's answers) x (teacher's mean cost) - student - shadow - reverse - rescore - judge
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from router.types import Arm
from tutelage.contracts.records import CONTENT_LOST, Attempt, Exchange, Json, ShadowAttempt, Spending, Spooled

TEACHER, STUDENT, SHADOW, REVERSE, RESCORE, JUDGE = "teacher", "student", "shadow", "reverse", "rescore", "judge"
ACCOUNTS = (TEACHER, STUDENT, SHADOW, REVERSE, RESCORE, JUDGE)

MEASURED = 30
"""Reverse calls with a price from which the teacher's cost on the student's own traffic is taken; before, its mean elsewhere."""

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One account: calls that were answered, how many of them have no price, and dollars of the others."""

    calls: int = 0
    unpriced: int = 0
    usd: float = 0.0

    @property
    def known_usd(self) -> float | None:
        """All dollars; None where a call has no price."""
        return self.usd if self.unpriced == 0 else None

    @property
    def usd_per_call(self) -> float | None:
        """Mean over the calls that have a price."""
        priced = self.calls - self.unpriced
        return self.usd / priced if priced > 0 else None


NOTHING = Line()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One route over `days` days."""

    days: int
    lines: Mapping[str, Line] = field(default_factory=dict)

    def line(self, account: str) -> Line:
        return self.lines.get(account, NOTHING)

    @property
    def teacher_usd_per_call(self) -> float | None:
        """What the teacher costs on what the student serves, measured there where that is often enough."""
        reverse = self.line(REVERSE)
        measured = reverse.calls - reverse.unpriced >= MEASURED
        return reverse.usd_per_call if measured else self.line(TEACHER).usd_per_call

    @property
    def unknown(self) -> tuple[str, ...]:
        """Accounts with calls of unknown price: what to alarm about."""
        return tuple(name for name in ACCOUNTS if self.line(name).unpriced > 0)

    @property
    def avoided_usd(self) -> float | None:
        """What the teacher would have cost for the answers that the student gave."""
        calls, mean = self.line(STUDENT).calls, self.teacher_usd_per_call
        return 0.0 if calls == 0 else None if mean is None else calls * mean

    @property
    def net_usd(self) -> float | None:
        """Avoided, less all that the student and its watching cost. Negative while it is measured and serves little."""
        spent = [self.line(name).known_usd for name in ACCOUNTS if name != TEACHER]
        known = [usd for usd in spent if usd is not None]
        return None if self.avoided_usd is None or len(known) < len(spent) else self.avoided_usd - sum(known)

    def as_json(self) -> Json:
        return {
            "days": self.days,
            "accounts": {
                name: {"calls": line.calls, "unpriced": line.unpriced, "usd": line.known_usd}
                for name, line in ((name, self.line(name)) for name in ACCOUNTS)
            },
            "teacher_usd_per_call": self.teacher_usd_per_call,
            "avoided_usd": self.avoided_usd,
            "net_usd": self.net_usd,
            "unknown": list(self.unknown),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedCosts:
    """What a student costs whether it serves or not: once for data, training and evaluation; daily for upkeep."""

    data_usd: float = 0.0
    training_usd: float = 0.0
    evaluation_usd: float = 0.0
    upkeep_usd_per_day: float = 0.0

    @property
    def once_usd(self) -> float:
        return self.data_usd + self.training_usd + self.evaluation_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """When the fixed costs are earned, at the present daily net; `days` is infinity where that is never."""

    daily_usd: float
    days: float

    def as_json(self) -> Json:
        return {"daily_usd": self.daily_usd, "days": self.days if math.isfinite(self.days) else None}


def break_even(statement: Statement, fixed: FixedCosts) -> BreakEven | None:
    """None while the net is not known. Days count from the first of the statement."""
    if statement.net_usd is None or statement.days == 0:
        return None
    daily = statement.net_usd / statement.days - fixed.upkeep_usd_per_day
    if fixed.once_usd == 0.0:
        return BreakEven(daily_usd=daily, days=0.0 if daily >= 0.0 else math.inf)
    return BreakEven(daily_usd=daily, days=fixed.once_usd / daily if daily > 0.0 else math.inf)


def statement_of(spendings: Iterable[Spending]) -> Statement:
    """The sum over days."""
    lines: dict[str, Line] = {}
    days = set()
    for row in spendings:
        before = lines.get(row.account, NOTHING)
        days.add(row.day)
        lines[row.account] = Line(
            calls=before.calls + row.calls,
            unpriced=before.unpriced + row.unpriced,
            usd=before.usd + row.nusd / 1e9,
        )
    return Statement(days=max(days) - min(days) + 1 if days else 0, lines=lines)


def spendings_of(records: Iterable[Spooled]) -> tuple[Spending, ...]:
    """What spooled records cost, per route, UTC day and account. A call that gave no answer is no call, as nothing was avoided
    by it; what is known to have been paid for it counts. An answer that broke off cost something."""
    total: dict[tuple[str, int, str], tuple[int, int, int]] = {}
    for route, attempt in _attempts(records):
        answered = attempt.error is None or attempt.broke or attempt.error in CONTENT_LOST
        if answered or attempt.cost_nusd is not None:
            place = (route, int(attempt.started // DAY_S), account_of(attempt))
            calls, unpriced, nusd = total.get(place, (0, 0, 0))
            total[place] = (
                calls + answered,
                unpriced + (attempt.cost_nusd is None),
                nusd + (attempt.cost_nusd or 0),
            )
    return tuple(
        Spending(route=route, day=day, account=account, calls=calls, unpriced=unpriced, nusd=nusd)
        for (route, day, account), (calls, unpriced, nusd) in sorted(total.items())
    )


def account_of(attempt: Attempt) -> str:
    """The account that a call belongs to."""
    if attempt.purpose == "rescore":
        return RESCORE
    if attempt.purpose == "shadow":
        return SHADOW if attempt.arm is Arm.STUDENT else REVERSE
    return STUDENT if attempt.arm is Arm.STUDENT else TEACHER


def _attempts(records: Iterable[Spooled]) -> Iterator[tuple[str, Attempt]]:
    for record in records:
        if isinstance(record, Exchange):
            yield from ((record.route, attempt) for attempt in record.attempts)
        elif isinstance(record, ShadowAttempt) and record.attempt is not None:
            yield record.route, record.attempt
