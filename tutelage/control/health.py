"""What the stream of records and the spools say of the machinery: what may hold a rollout although nothing is known
against its student.

    breaker   the teacher's last word, from gateways' own attempts: a breaker that is open refuses calls
    capture   records that gateways had to drop, from the account that every spool keeps
    ratio     users per arm against the split that was planned
    halves    exchanges whose other half is overdue: they may hide bad answers until they come

Owns these four, in memory: who takes over begins anew, and every alarm is valid from any beginning on. Must not know
what follows: `scoring.gates.holds`. `saw` is called for every record that was committed, `look` about once a second.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from router.types import FULL_BP, Arm, Direction
from scoring.evidence import hash_of
from scoring.stats.ladder import log_threshold
from scoring.stats.rates import log_e_split, lower_rate
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.records import Attempt, Exchange, Feedback, Spooled
from tutelage.contracts.signals import Signals, Watch
from tutelage.store.spool import Account, read_account, spools

log = structlog.get_logger()

BREAKER_OPEN = "breaker_open"
BREAKER_S = 60.0
"""A breaker that refused a call is taken to be open for so long, unless a call came through."""
OVERDUE_S = 120.0
"""An exchange whose other half has not come for this long may hide a bad answer."""
DROPPED = ("queue_full", "disk_full")
"""What a gateway lost although it was eligible: the others of its reasons leave a row."""
WINDOW_S = 600.0
LOSS_RATE = 0.005
LOSS_ALPHA = 0.01
RATIO_ALPHA = 0.001
USERS_KEPT = 100_000
"""Users of a route whose arm is remembered; beyond it the account begins anew: nobody counts twice."""


@dataclass(slots=True)
class _Breaker:
    refused_at: float = float("-inf")
    answered_at: float = float("-inf")

    def saw(self, attempt: Attempt, at: float) -> None:
        if attempt.error == BREAKER_OPEN:
            self.refused_at = max(self.refused_at, at)
        elif attempt.error is None:
            self.answered_at = max(self.answered_at, at)

    def watch(self, now: float) -> Watch:
        if self.refused_at > self.answered_at and now < self.refused_at + BREAKER_S:
            return Watch(words=f"its breaker is open: it refused a call {now - self.refused_at:,.0f} s ago", alarm=True)
        return Watch(words="its breaker is closed")


@dataclass(slots=True)
class _Split:
    """Users per share and arm, each counted when first seen under a salt."""

    salt: str = ""
    users: set[int] = field(default_factory=set)
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)

    def saw(self, exchange: Exchange) -> None:
        share_bp = exchange.plan.share_bp
        if not exchange.plan.in_population or not 0 < share_bp < FULL_BP:
            return
        if exchange.salt != self.salt:
            self.salt, self.users, self.counts = exchange.salt, set(), {}
        user = hash_of(exchange.conversation)
        if user in self.users:
            return
        if len(self.users) >= USERS_KEPT:
            self.users, self.counts = set(), {}
        self.users.add(user)
        units, students = self.counts.get(share_bp, (0, 0))
        self.counts[share_bp] = units + 1, students + (exchange.plan.assigned is Arm.STUDENT)

    def watch(self) -> Watch | None:
        if not self.counts:
            return None
        units = sum(units for units, _ in self.counts.values())
        got = sum(students for _, students in self.counts.values())
        planned = sum(share * units for share, (units, _) in self.counts.items()) / FULL_BP
        return Watch(
            words=f"the student has {got:,} of {units:,} users where the split planned {planned:,.0f}",
            alarm=log_e_split(self.counts) >= log_threshold(RATIO_ALPHA),
        )


class _Capture:
    """Records that gateways lost within the last minutes, over all their spools."""

    def __init__(self) -> None:
        self._last: dict[str, Account] = {}
        self._window: deque[tuple[float, int, int]] = deque()

    def look(self, accounts: Mapping[str, Account], now: float) -> None:
        eligible = lost = 0
        for gateway, account in accounts.items():
            before = self._last.get(gateway)
            begun = before is None or account.eligible < before.eligible  # first sight, or the process began anew
            if before is not None:
                eligible += account.eligible - (0 if begun else before.eligible)
                lost += _lost(account) - (0 if begun else _lost(before))
            self._last[gateway] = account
        if eligible or lost:
            self._window.append((now, eligible, lost))
        while self._window and self._window[0][0] < now - WINDOW_S:
            self._window.popleft()

    def watch(self) -> Watch:
        eligible = sum(taken for _, taken, _ in self._window)
        lost = sum(gone for _, _, gone in self._window)
        few = lost <= LOSS_RATE * eligible
        return Watch(
            words=f"gateways lost {lost:,} of the last {eligible:,} records{'' if few else ': queue or disk was full'}",
            alarm=not few and lower_rate(lost, max(eligible, lost), alpha=LOSS_ALPHA) > LOSS_RATE,
        )


def _lost(account: Account) -> int:
    return sum(account.dropped.get(reason, 0) for reason in DROPPED)


class Health:
    """`overdue` gives, by route and direction, the exchanges that wait for their other half since before a time; `drift`
    what there is to say of a route's judge."""

    def __init__(
        self,
        data_dir: Path,
        overdue: Callable[[float], Mapping[tuple[str, Direction], int]],
        drift: Callable[[str], Watch | None] = lambda route: None,
    ) -> None:
        self._drift = drift
        self._data_dir = data_dir
        self._overdue = overdue
        self._breakers: dict[str, _Breaker] = {}
        self._splits: dict[str, _Split] = {}
        self._capture = _Capture()
        self._lossy = self._capture.watch()
        self._orders: dict[str, Watch] = {}
        self._waiting: Mapping[tuple[str, Direction], int] = {}
        self._unread: set[str] = set()

    def saw(self, record: Spooled) -> None:
        """Read one committed record."""
        if isinstance(record, Feedback):
            return
        breaker = self._breakers.setdefault(record.route, _Breaker())
        if isinstance(record, Exchange):
            self._splits.setdefault(record.route, _Split()).saw(record)
            attempts, at = record.attempts, record.admitted_at + record.ended_ms / 1000
        else:
            attempts, at = (() if record.attempt is None else (record.attempt,)), record.ended_at
        for attempt in attempts:
            if attempt.arm is Arm.TEACHER:
                breaker.saw(attempt, at)

    def look(self, now: float) -> None:
        """Read the spools' accounts, and which exchanges are overdue."""
        accounts: dict[str, Account] = {}
        before, self._unread = self._unread, set()
        for gateway, path in spools(self._data_dir).items():
            try:
                account = read_account(path)
            except StoreUnavailable as fault:
                self._unread.add(gateway)
                if gateway not in before:
                    log.warning("a spool's account cannot be read now", gateway=gateway, fault=str(fault))
                continue
            if account is not None:
                accounts[gateway] = account
        self._capture.look(accounts, now)
        self._lossy = self._capture.watch()
        self._waiting = self._overdue(now - OVERDUE_S)

    def judged(self, route: str, order: Watch) -> None:
        """What the route's gate has counted of the order of answers."""
        self._orders[route] = order

    def of(self, route: str, now: float) -> Signals:
        """What is known of `route`."""
        split, breaker = self._splits.get(route), self._breakers.get(route)
        return Signals(
            at=now,
            teacher=None if breaker is None else breaker.watch(now),
            judge=self._drift(route),
            order=self._orders.get(route),
            capture=self._lossy,
            split=None if split is None else split.watch(),
            overdue={direction: n for (name, direction), n in self._waiting.items() if name == route},
        )
