"""The worker's metrics: their names, their labels, and the port that shows them.

Owns the definitions. Observers only: nothing here can fail or slow the scoring of a pair. Label values are routes,
methods, failures and judges' names, all from the configuration or from fixed lists: bounded.
"""

import errno
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, start_http_server

from tutelage.contracts.pairs import AnchorReading, Judgement

log = structlog.get_logger()

PORT_OFFSET = 50
"""The worker's metrics are on the gateway's `metrics_port` + 50; with `metrics_port: 0` there are none."""


class WorkerMetrics:
    """What one worker counts."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._judged = Counter(
            "tutelage_judgements_total",
            "Judgements written. failure: none, or why there is no plain score.",
            ["route", "method", "failure"],
            registry=self.registry,
        )
        self._requeued = Counter(
            "tutelage_pairs_requeued_total",
            "Pairs given back to the queue: judge (could not be reached), budget, crash, shutdown.",
            ["route", "reason"],
            registry=self.registry,
        )
        self._calls = Histogram(
            "tutelage_judge_call_seconds",
            "Time of one judge call. outcome: answered, unavailable, unscorable.",
            ["judge", "outcome"],
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
            registry=self.registry,
        )
        self._cost = Counter(
            "tutelage_judge_cost_usd_total", "Judge calls, in dollars, where known.", ["judge"], registry=self.registry
        )
        self._order = Summary(
            "tutelage_judge_first_minus_second",
            "What the answer shown first has over the second: 0 on average for a judge who does not mind the order.",
            ["route"],
            registry=self.registry,
        )
        self._anchors = Counter(
            "tutelage_anchor_readings_total",
            "Labelled pairs put to the judge again. failure: none, crash (a fault of ours), or why there is no plain score.",
            ["route", "failure"],
            registry=self.registry,
        )
        self._drift = Summary(
            "tutelage_anchor_drift", "Half of judge now - judge at first.", ["route"], registry=self.registry
        )
        self.in_flight = Gauge("tutelage_judge_pairs_in_flight", "Pairs at the judge.", registry=self.registry)

    def judged(self, route: str, judgement: Judgement) -> None:
        self._judged.labels(route, judgement.method, judgement.failure or "none").inc()
        if judgement.cost_nusd is not None and judgement.judge is not None:
            self._cost.labels(judgement.judge).inc(judgement.cost_nusd / 1e9)

        if judgement.first_minus_second is not None:
            self._order.labels(route).observe(judgement.first_minus_second)

    def read_anchor(self, reading: AnchorReading) -> None:
        self._anchors.labels(reading.route, reading.failure or "none").inc()
        if reading.drift is not None:
            self._drift.labels(reading.route).observe(reading.drift)

    def anchor_crashed(self, route: str) -> None:
        """A look at the anchors of `route` ended in a fault of ours."""
        self._anchors.labels(route, "crash").inc()

    def requeued(self, route: str, reason: str) -> None:
        self._requeued.labels(route, reason).inc()

    def call(self, judge: str, outcome: str, seconds: float) -> None:
        self._calls.labels(judge, outcome).observe(seconds)


def serve_metrics(metrics: WorkerMetrics, host: str, metrics_port: int) -> Callable[[], None]:
    """Show the metrics in the gateway's port range; returns what ends it. A taken port costs the metrics, not the work."""
    if metrics_port == 0:
        return lambda: None
    port = metrics_port + PORT_OFFSET
    try:
        server, thread = start_http_server(port, addr=host, registry=metrics.registry)
    except OSError as fault:
        log.warning("no metrics: cannot listen", port=port, reason=errno.errorcode.get(fault.errno or 0, str(fault)))
        return lambda: None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
