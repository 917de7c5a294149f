"""Metrics of the control role: rollouts, evidence, queues, decisions. docs/METRICS.md is their table (a test
compares them).

Owns names, help and labels. Label values are bounded: routes, cells, reasons and phases of the program itself;
never keys, tenants or content. Must not decide anything. To add one: an attribute here, a row there.
"""

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from router.rollout import Phase, Rollout
from scoring.economics import ACCOUNTS, Statement
from tutelage.contracts.decisions import CellNumbers, Decision
from tutelage.contracts.records import Exchange, Feedback, Spooled
from tutelage.store.base import Joined, QueueDepth

_TICK_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """One process's numbers. Gauges show the last tick; counters begin with the process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self._holds: dict[str, frozenset[str]] = {}
        self.active = Gauge("tutelage_control_active", "1 while this process holds the lease", registry=registry)
        self.ticks = Counter(
            "tutelage_control_ticks",
            "Ticks of the loop by result: active, standby, failed",
            ["result"],
            registry=registry,
        )
        self.tick_seconds = Histogram(
            "tutelage_control_tick_seconds", "Seconds of one tick", buckets=_TICK_BUCKETS_S, registry=registry
        )
        self.share = self._gauge("tutelage_rollout_share_bp", "The student's share in force, basis points", "route")
        self.phase = self._gauge("tutelage_rollout_phase", "1 for the phase that the rollout is in", "route", "phase")
        self.rung = self._gauge("tutelage_rollout_rung", "The rung that the rollout stands on", "route")
        self.revision = self._gauge("tutelage_rollout_revision", "Revision of the rollout", "route")
        self.held = self._gauge("tutelage_rollout_hold", "1 for each reason that holds the rollout", "route", "hold")
        self.log_e = self._gauge("tutelage_gate_log_e", "log E of a cell, nats", "route", "cell")
        self.threshold = self._gauge("tutelage_gate_threshold", "log E that the next rung needs", "route", "cell")
        self.units = self._gauge("tutelage_gate_units", "Units folded into a cell", "route", "cell")
        self.mean_d = self._gauge("tutelage_gate_mean_d", "Mean of d: student minus teacher", "route", "cell")
        self.lower_bound = self._gauge("tutelage_gate_lower_bound", "E[d] is above it, always valid", "route", "cell")
        self.missing = self._gauge("tutelage_gate_missing", "Units without a score, by class", "route", "cell", "cause")
        self.detector = self._gauge("tutelage_gate_detector", "Statistic of a rollback detector", "route", "detector")
        self.alarm = self._gauge("tutelage_alarm", "1 while what is watched is an alarm", "route", "watch")
        self.order = self._gauge("tutelage_gate_order", "Two-sided statistic of the order effect", "route")
        self.pairs = Counter("tutelage_pairs", "Pairs joined", ["route", "direction"], registry=registry)
        self.excluded = Counter(
            "tutelage_pairs_excluded", "Sampled exchanges that no gate reads, by reason", ["route", "reason"],
            registry=registry,
        )  # fmt: skip
        self.feedback = Counter(
            "tutelage_feedback", "Feedback attached to its exchange", ["route", "type"], registry=registry
        )
        self.unattached = Counter(
            "tutelage_feedback_dropped", "Feedback dropped, by reason", ["reason"], registry=registry
        )
        self.cost = Counter(
            "tutelage_cost_usd",
            "Dollars spent, where the price is known",
            ["route", "arm", "purpose"],
            registry=registry,
        )
        self.spent = self._gauge("tutelage_spent_usd", "Dollars spent since the store began", "route", "account")
        self.unpriced = self._gauge("tutelage_unpriced_calls", "Calls of unknown price", "route", "account")
        self.net_saving = self._gauge("tutelage_net_saving_usd", "Net saving since the store began", "route")
        self.folded = Counter("tutelage_units_folded", "Units folded into evidence", ["route"], registry=registry)
        self.waiting = self._gauge("tutelage_pairs_waiting", "Pairs waiting for judgement", "route")
        self.oldest = self._gauge("tutelage_pairs_oldest_seconds", "Age of the oldest pair waiting", "route")
        self.judge_rate = self._gauge("tutelage_judge_rate_bp", "Part of the pairs that is judged", "route")
        self.halves = Gauge("tutelage_join_halves", "Exchanges that wait for their other half", registry=registry)
        self.unreadable = Gauge(
            "tutelage_spool_unreadable", "Spooled records that could not be read", registry=registry
        )
        self.lost = Gauge("tutelage_spool_lost", "Spools that are damaged and no longer waited for", registry=registry)
        self.decisions = Counter(
            "tutelage_decisions", "Decisions of the controller by event", ["route", "event"], registry=registry
        )
        self.purged = Counter("tutelage_purged", "Records past their retention", ["route", "what"], registry=registry)

    def scrape(self) -> bytes:
        """The exposition in Prometheus' text format."""
        return generate_latest(self.registry)

    def saw_joined(self, joined: Joined) -> None:
        for pair in joined.pairs:
            self.pairs.labels(pair.route, pair.direction.value).inc()
            if pair.excluded is not None:
                self.excluded.labels(pair.route, pair.excluded).inc()
        for exclusion in joined.excluded:
            self.excluded.labels(exclusion.route, exclusion.reason).inc()
        for attached in joined.feedback:
            self.feedback.labels(attached.route, attached.feedback.type).inc()
        for reason in joined.unattached:
            self.unattached.labels(reason).inc()

    def saw_record(self, record: Spooled) -> None:
        if isinstance(record, Feedback):
            return
        attempts = record.attempts if isinstance(record, Exchange) else (record.attempt,)
        for attempt in attempts:
            if attempt is not None and attempt.cost_nusd:
                self.cost.labels(record.route, attempt.arm.value, attempt.purpose).inc(attempt.cost_nusd / 1e9)

    def saw_rollout(self, rollout: Rollout) -> None:
        route = rollout.route
        self.share.labels(route).set(rollout.share_in_force_bp)
        self.rung.labels(route).set(rollout.rung)
        self.revision.labels(route).set(rollout.revision)
        for phase in Phase:
            self.phase.labels(route, phase.value).set(1 if phase is rollout.phase else 0)
        for hold in self._holds.get(route, frozenset()) - rollout.holds:
            self.held.labels(route, hold).set(0)
        for hold in rollout.holds:
            self.held.labels(route, hold).set(1)
        self._holds[route] = self._holds.get(route, frozenset()) | rollout.holds

    def saw_gate(self, route: str, cells: tuple[CellNumbers, ...], detectors: Mapping[str, float]) -> None:
        for numbers in cells:
            self.log_e.labels(route, numbers.cell).set(numbers.log_e)
            self.threshold.labels(route, numbers.cell).set(numbers.threshold)
            self.units.labels(route, numbers.cell).set(numbers.n)
            self.mean_d.labels(route, numbers.cell).set(_or_nan(numbers.mean_d))
            self.lower_bound.labels(route, numbers.cell).set(_or_nan(numbers.lower_bound))
            for cause, count in numbers.missing.items():
                self.missing.labels(route, numbers.cell, cause).set(count)
        for name, value in detectors.items():
            self.detector.labels(route, name).set(value)

    def saw_spending(self, route: str, statement: Statement) -> None:
        for account in ACCOUNTS:
            line = statement.line(account)
            self.spent.labels(route, account).set(line.usd)
            self.unpriced.labels(route, account).set(line.unpriced)
        self.net_saving.labels(route).set(_or_nan(statement.net_usd))

    def saw_queue(self, route: str, depth: QueueDepth, now: float) -> None:
        oldest = depth.oldest_admitted_at
        self.waiting.labels(route).set(depth.waiting)
        self.oldest.labels(route).set(0.0 if oldest is None else max(0.0, now - oldest))

    def saw_decision(self, decision: Decision) -> None:
        self.decisions.labels(decision.route, decision.event).inc()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)


def _or_nan(value: float | None) -> float:
    """Unknown is not zero."""
    return math.nan if value is None else value
