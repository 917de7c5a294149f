"""The store: synchronous protocols, one per role. SQLite implements them all; `tests/tutelage/store/contract.py` is
their contract.

Owns what is true besides content at rest in spools. Must not know who asks. Every method either does all it says or
raises `StoreUnavailable` and does nothing. Calls block: callers on an event loop give them a thread of their own.

One global `sequence` rises with every commit that changes the snapshot (configuration, rollouts, epochs, sampling, keys),
so that a reader learns with one cheap call whether anything changed. Pairs, judgements, folds and leases do not raise it:
they are traffic, and no gateway reads them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from router.rollout import Rollout
from router.types import Direction, Sampling
from tutelage.contracts.decisions import Decision, Epoch
from tutelage.contracts.keys import Key
from tutelage.contracts.pairs import AnchorReading, Judgement, Pair, Serving
from tutelage.contracts.records import Feedback, Record, Spending
from tutelage.contracts.signals import Signals
from tutelage.contracts.snapshot import PublishedConfig, Snapshot


class Audit(Record, frozen=True, kw_only=True):
    """Who did what, when, why; `before` and `after` are short states in words."""

    at: float
    actor: str
    action: str
    subject: str
    reason: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutChange:
    """One transition to commit: all of it or nothing.

    `expected_revision` is 0 where the rollout does not exist yet. `epoch` is given where the rollout enters one that is not
    stored yet. `lease` is given by automatic writers: who no longer holds it is fenced out.
    """

    rollout: Rollout
    expected_revision: int
    decision: Decision
    audit: Audit
    epoch: Epoch | None = None
    lease: "Lease | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who may write automatic events. `token` rises with every change of holder (fencing)."""

    name: str
    holder: str
    token: int
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A pair taken from the queue by one worker until `until` (UTC seconds), delivered `deliveries` times so far.

    `correction` is what a person said the right answer to this input is, the latest where there are several.
    """

    pair: Pair
    until: float
    deliveries: int
    correction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A judged pair that no gate has read yet. `order` is the store's own rising number."""

    order: int
    pair: Pair
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a request was served, not counted yet. `order` is the store's own rising number, `feedback` what people said."""

    order: int
    serving: Serving
    feedback: tuple[Feedback, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A pair that a gate has folded: `number` rises in the order of folding, `label` is a person's judgement of it."""

    number: int
    scored: Scored
    label: Judgement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """The turns of one conversation that is over, every one of them judged."""

    key: str
    scored: tuple[Scored, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """When a sticky key's conversation is over, UTC seconds: nothing came since `idle_since`; or it has `turns` turns; or it
    began before `begun_before`. It has no more than `turns` turns, within `span_s` of its first. None is over that was admitted
    after a turn, of any key, that waits for its judgement and was admitted after `waiting_since`."""

    idle_since: float
    waiting_since: float
    begun_before: float
    turns: int
    span_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What one tick concluded for a route: orders of folded pairs, and the states after them, in one transaction.

    `watched` are orders of pairs that detectors alone have read, ahead of the conversation that they are turns of; those of
    `passed` are read with theirs. `revision` is the rollout's under which it was made; `label` the last label that was read,
    where these were folded; `served` are orders of requests, where these were.
    `successor_state` is the state of a student that is measured beside the serving one; None leaves what is kept of it.
    """

    route: str
    folded: tuple[int, ...]
    gate_state: bytes
    lease: Lease
    successor_state: bytes | None = None
    revision: int
    label: int | None = None
    served: tuple[int, ...] = ()
    watched: tuple[int, ...] = ()
    passed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refold:
    """A fold as the store can still give it: `scored`, `watched` and `served`, by time and id, are those of its pairs and
    requests that are not purged, with what people had said by then; `purged` counts the others."""

    revision: int
    label: int | None
    purged: int
    scored: tuple[Scored, ...]
    watched: tuple[Scored, ...]
    served: tuple[Served, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A sampled exchange of which no pair can be made: counted by `reason`. `id` is the exchange's, `revision` the
    rollout's at admission, or as it stands where the exchange itself was lost. `direction` is the population in which a gate
    would have counted it; None: in none."""

    id: str
    route: str
    epoch: str
    reason: str
    at: float
    revision: int = 0
    direction: Direction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """Feedback whose exchange was found and is its tenant's. A correction is the reference of its `input_hash` on its route."""

    feedback: Feedback
    route: str
    input_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What one reading of the spools came to: committed in one transaction.

    `unattached` are reasons why feedback was dropped, for counting. `waiting` are encoded records by (record id, exchange id)
    that lack their other half, `done` the record ids of halves that were used, `positions` how far each spool is read, `spent`
    what the records cost, `served` how requests were served.
    """

    pairs: Sequence[Pair] = ()
    excluded: Sequence[Exclusion] = ()
    feedback: Sequence[Attached] = ()
    unattached: Sequence[str] = ()
    waiting: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    done: Sequence[str] = ()
    positions: Mapping[str, int] = field(default_factory=dict)
    spent: Sequence[Spending] = ()
    served: Sequence[Serving] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """Pairs of a route: waiting for judgement (claimed ones included), the oldest of them, and what became of the rest.

    `scored` counts judged pairs, folded or not. `by_exclusion` counts, by reason, sampled exchanges that no gate reads.
    """

    waiting: int = 0
    oldest_admitted_at: float | None = None
    scored: int = 0
    by_exclusion: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """By whom and how a route is judged: readings of anchors are compared inside one of these only."""

    route: str
    rubric: str
    judge: str
    judge_version: str
    prompt_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorState:
    """Where a labelled pair stands under one judging: when it was last read, its first plain d."""

    last_at: float
    reference_d: float | None


class SnapshotStore(Protocol):
    """What gateways read, and what control publishes."""

    def sequence(self) -> int:
        """The number of the last commit. Cheap: called every 200 ms by every process."""

    def snapshot(self) -> Snapshot | None:
        """Everything as of one sequence, read in one transaction; None before the first publication."""

    def publish(self, config: PublishedConfig) -> int:
        """Make `config` the published configuration; returns the new sequence. Publishing the same digest changes
        nothing."""

    def set_sampling(self, route: str, sampling: Sampling) -> int:
        """Put the sampling policy of a route in force; returns the new sequence."""


class RolloutStore(Protocol):
    """Rollouts, their decisions and audit rows."""

    def rollout(self, route: str) -> Rollout | None: ...

    def rollout_at(self, route: str, revision: int) -> Rollout | None:
        """The rollout as that revision left it."""

    def epoch(self, name: str) -> Epoch | None:
        """An epoch by its id, in force or past."""

    def commit(self, change: RolloutChange) -> int:
        """Either the whole change is committed, and the new sequence returned, or StaleRevision or LeaseLost is raised."""

    def history(self, route: str, limit: int = 100) -> Sequence[Decision]:
        """Decisions of a route, newest first: moves and refusals."""

    def refuse(self, decision: Decision) -> None:
        """Record a refusal: a decision that moved nothing."""

    def audit(self, row: Audit) -> None:
        """Record an act that moves no rollout: a key made or revoked, content read."""

    def audits(self, limit: int = 100) -> Sequence[Audit]:
        """Audit rows, newest first."""


class KeyStore(Protocol):
    """API keys, hashed at rest."""

    def put_key(self, key: Key) -> int: ...

    def keys(self) -> Sequence[Key]: ...

    def revoke_key(self, key_id: str, at: float) -> bool:
        """True where there was such a key that was not revoked."""


class LeaseStore(Protocol):
    """Who is the active control."""

    def acquire(self, name: str, holder: str, ttl_s: float, now: float) -> Lease | None:
        """Take or renew the lease; None while somebody else holds it."""

    def release(self, lease: Lease) -> None: ...


class PairStore(Protocol):
    """Pairs from the join to judgement; the queue between control and workers. At least once; all writes upsert by
    key."""

    def positions(self) -> Mapping[str, int]:
        """Per spool (its gateway's id), the last sequence that was joined."""

    def join(self, joined: Joined) -> None:
        """Commit one reading of the spools. Pairs are queued where not excluded; a pair that exists is left as it is."""

    def waiting_halves(self) -> Sequence[bytes]:
        """The encoded exchanges and shadow attempts that still wait for their other half, feedback for its exchange."""

    def claim(self, worker: str, limit: int, visible_after_s: float, now: float) -> Sequence[Claimed]:
        """Take up to `limit` pairs, oldest first; they return to the queue if no judgement comes in time."""

    def judged(self, judgements: Sequence[Judgement]) -> None:
        """Store judgements (upsert by pair, rubric version, method) and take their pairs off the queue. What a gate has
        folded stays as it was folded."""

    def requeue(self, pair_id: str, not_before: float) -> None:
        """Give a claimed pair back: its judge could not be reached."""

    def pair(self, pair_id: str) -> Pair | None: ...

    def pairs(self, route: str, limit: int, before: float | None = None) -> Sequence[Pair]:
        """Newest first, admitted before `before`."""

    def judgements(self, pair_id: str) -> Sequence[Judgement]: ...

    def feedback(self, exchange_id: str) -> Sequence[Feedback]:
        """What was said of an exchange, in the order in which it came."""

    def depth(self, route: str) -> QueueDepth: ...

    def losses(self, route: str, epoch: str, since_revision: int) -> Mapping[Direction, Mapping[str, int]]:
        """Sampled exchanges of which no pair could be made, by direction and reason: those of `epoch` that were admitted
        under `since_revision` or later and that a gate would have counted."""

    def traffic(self, route: str, direction: Direction, admitted_after: float) -> int:
        """Pairs of one direction admitted after a time, excluded ones not counted."""

    def spending(self, route: str) -> Sequence[Spending]:
        """What the route has cost, per day and account, oldest first: serving and shadows as joined, judges as judged."""

    def purge(self, route: str, admitted_before: float) -> int:
        """Delete pairs (content and all) past their retention; returns how many. Folded evidence holds counts only and
        stays."""


class JudgeStore(Protocol):
    """What judging costs, and what judges make of labelled pairs."""

    def spend(self, route: str, day: int) -> Spending:
        """The account `judge` of UTC day `day` (days since 1970). `judged` adds to it what its judgements cost."""

    def charge(self, spending: Spending) -> None:
        """Add to an account what calls cost that came to no judgement."""

    def drawable(self, route: str, admitted_after: float) -> int:
        """Pairs admitted after a time from which the judge's rate draws: drawn or not, no other reason against them."""

    def scored(self, route: str, admitted_after: float) -> int:
        """Pairs admitted after a time that have a judgement."""

    def put_readings(self, readings: Sequence[AnchorReading]) -> None:
        """Store readings of anchors and charge what they cost to the judge. A reading that exists is left as it is."""

    def readings(self, route: str, after: int, limit: int) -> Sequence[tuple[int, AnchorReading]]:
        """Readings of a route with the store's own rising number above `after`, oldest first."""

    def anchors(self, judging: Judging) -> Mapping[str, AnchorState]:
        """The anchors read so far under `judging`, by name."""


class GateStore(Protocol):
    """Evidence and detectors of each route: opaque bytes to the store, folded exactly once."""

    def gate_state(self, route: str) -> bytes | None: ...

    def successor_state(self, route: str) -> bytes | None: ...

    def put_signals(self, signals: Mapping[str, Signals]) -> None:
        """Keep what control sees of the machinery, by route."""

    def signals(self, route: str) -> Signals | None: ...

    def folded(self, route: str, after: int, limit: int) -> Sequence[Folded]:
        """Forward pairs that were folded, in the order in which they were: those numbered above `after`."""

    def unfolded(self, route: str, limit: int, waiting_since: float) -> Sequence[Scored]:
        """Judged pairs not folded yet, by (admitted_at, id), up to the oldest that still waits for its judgement: of those
        that were admitted after `waiting_since`. What waits longer is waited for no more."""

    def unwatched(self, route: str, limit: int, waiting_since: float) -> Sequence[Scored]:
        """What `unfolded` gives, without the pairs that a fold has watched or passed."""

    def begun(self, route: str, keys: Collection[str]) -> frozenset[str]:
        """Those of `keys` that have a pair which a fold has watched and none has folded."""

    def closed(self, route: str, closing: Closing, limit: int) -> Sequence[Turns]:
        """Up to `limit` conversations that are over, all of their turns judged, by the time of the last one. What a key has
        beyond one of them is another."""

    def servings(self, route: str, quiet_since: float, begun_before: float, limit: int) -> Sequence[Served]:
        """Requests before `quiet_since` that are not counted yet, by unit, then in order: of up to `limit` units that have none
        since, or whose first is of before `begun_before`."""

    def fold(self, fold: Fold) -> bool:
        """Mark pairs folded and store the state after them, both or neither. False, and nothing done, where the lease is
        somebody else's or one of the pairs was folded before: read the state again. Folds of a route are numbered from 1."""

    def folds(self, route: str) -> int:
        """How many folds the route has seen."""

    def refold(self, route: str, number: int) -> Refold | None: ...


class Store(SnapshotStore, RolloutStore, KeyStore, LeaseStore, PairStore, JudgeStore, GateStore, Protocol):
    """All roles in one object."""

    def close(self) -> None: ...
