"""Metrics of one gateway process: every name begins with `tutelage_gateway_`, every label set is bounded.

Labels: `route` is a configured route, `default`, `passthrough`, or `none` where a request was refused before it had one; `arm`
teacher, student or `none`; `status` a class (2xx, 4xx, 5xx, gone); `upstream` a configured one; `cause` an error class of
`gateway.upstreams.base` or of `gateway.relay`. Observers only: nothing here can fail or delay a request.

To add a metric: its definition here and its row in docs/METRICS.md.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from router.breaker import BreakerState

log = structlog.get_logger()

NONE = "none"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_BREAKER = {BreakerState.CLOSED: 0.0, BreakerState.HALF_OPEN: 1.0, BreakerState.OPEN: 2.0}


class Counts(Protocol):
    """What is read of the spool: the conservation law."""

    @property
    def eligible(self) -> int: ...
    @property
    def durable(self) -> int: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...
    @property
    def in_queue(self) -> int: ...


class Strain(Protocol):
    """What is read of the event loop's pressure."""

    @property
    def shedding(self) -> bool: ...
    @property
    def late_s(self) -> float: ...


class Metrics:
    """The counters that requests move. Children are kept, so that a request pays for no look-up of labels twice."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tutelage_gateway_requests",
            "Requests ended, by route, arm that answered, and class of the status that the client got.",
            ("route", "arm", "status"),
            registry=self.registry,
        )
        self._first_token = Histogram(
            "tutelage_gateway_first_token_seconds",
            "From admission to the first byte of the answer's body.",
            ("route", "arm"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._total = Histogram(
            "tutelage_gateway_request_seconds",
            "From admission to the end of the answer.",
            ("route", "arm"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._overhead = Histogram(
            "tutelage_gateway_overhead_seconds",
            "The gateway's own part of the time to the answer's head: without the waits for upstreams.",
            ("route",),
            buckets=_OVERHEAD_SECONDS,
            registry=self.registry,
        )
        self._attempts = Counter(
            "tutelage_gateway_attempts",
            "Upstream calls made to serve requests, by what became of them (`ok` or an error class).",
            ("upstream", "cause"),
            registry=self.registry,
        )
        self._retries = Counter(
            "tutelage_gateway_retries",
            "Upstream calls made a second time before the first byte, by what was wrong with the first.",
            ("upstream", "cause"),
            registry=self.registry,
        )
        self._fallbacks = Counter(
            "tutelage_gateway_fallbacks",
            "Requests that another arm took over before the first byte, by what was wrong with the first arm's answer.",
            ("route", "cause"),
            registry=self.registry,
        )
        self._outside = Counter(
            "tutelage_gateway_plan_reasons",
            "Plans that did not follow the split, by reason (screened, pinned, breaker open).",
            ("route", "reason"),
            registry=self.registry,
        )
        self._shed = Counter(
            "tutelage_gateway_shadow_shed",
            "Requests drawn for a shadow call that got no slot: not sampled.",
            ("route",),
            registry=self.registry,
        )
        self._truncated = Counter(
            "tutelage_gateway_truncated",
            "Answers that broke off after their first byte, by cause.",
            ("route", "cause"),
            registry=self.registry,
        )
        self._refused = Counter(
            "tutelage_gateway_refused",
            "Requests refused by the gateway itself, by error code.",
            ("code",),
            registry=self.registry,
        )
        self._fields = Counter(
            "tutelage_gateway_fields",
            "Fields of requests that an upstream did not get as they came, by what became of them.",
            ("upstream", "field", "rule"),
            registry=self.registry,
        )
        self._snapshot = Gauge(
            "tutelage_gateway_snapshot_sequence",
            "Sequence of the snapshot in force.",
            registry=self.registry,
        )
        self._children: dict[tuple[object, ...], Counter | Histogram] = {}

    def request(self, route: str, arm: str, status: str, total_s: float) -> None:
        """A request ended."""
        self._counter(self._requests, route, arm, status).inc()
        self._histogram(self._total, route, arm).observe(total_s)

    def head(self, route: str, arm: str, first_token_s: float, overhead_s: float) -> None:
        """An answer begins."""
        self._histogram(self._first_token, route, arm).observe(first_token_s)
        self._histogram(self._overhead, route).observe(overhead_s)

    def attempt(self, upstream: str, cause: str | None) -> None:
        self._counter(self._attempts, upstream, cause or "ok").inc()

    def retry(self, upstream: str, cause: str) -> None:
        self._counter(self._retries, upstream, cause).inc()

    def fallback(self, route: str, cause: str) -> None:
        self._counter(self._fallbacks, route, cause).inc()

    def reasons(self, route: str, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self._counter(self._outside, route, reason).inc()

    def shed(self, route: str) -> None:
        self._counter(self._shed, route).inc()

    def truncated(self, route: str, cause: str) -> None:
        self._counter(self._truncated, route, cause).inc()

    def refused(self, code: str) -> None:
        self._counter(self._refused, code).inc()

    def field(self, upstream: str, name: str, rule: str) -> None:
        """A field was dropped, translated or refused. The first of its kind is logged: it tells the app what it may leave out."""
        if (self._fields, upstream, name, rule) not in self._children:
            log.info("field of a request does not travel as it came", upstream=upstream, field=name, rule=rule)
        self._counter(self._fields, upstream, name, rule).inc()

    def snapshot(self, sequence: int) -> None:
        self._snapshot.set(sequence)

    def watch(self, collector: Collector) -> None:
        """Add what is read when scraped."""
        self.registry.register(collector)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)

    def _counter(self, family: Counter, *labels: str) -> Counter:
        child = self._children.get((family, *labels))
        if child is None:
            child = self._children[family, *labels] = family.labels(*labels)
        return child  # type: ignore[return-value]  # a counter's child is one

    def _histogram(self, family: Histogram, *labels: str) -> Histogram:
        child = self._children.get((family, *labels))
        if child is None:
            child = self._children[family, *labels] = family.labels(*labels)
        return child  # type: ignore[return-value]  # a histogram's child is one


class State(Collector):
    """What is true at the moment of the scrape: open requests, shadows, breakers, capture's conservation law."""

    def __init__(
        self,
        *,
        open_requests: Callable[[], int],
        pressure: Strain,
        shadows: Callable[[], int],
        breakers: Callable[[], Iterable[tuple[str, BreakerState, int]]],
        counts: Callable[[], Counts],
    ) -> None:
        self._open_requests = open_requests
        self._pressure = pressure
        self._shadows = shadows
        self._breakers = breakers
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "tutelage_gateway_open_requests", "Requests under way.", value=float(self._open_requests())
        )
        yield GaugeMetricFamily(
            "tutelage_gateway_loop_late_seconds",
            "Work that waited for the event loop when it was last looked at.",
            value=self._pressure.late_s,
        )
        yield GaugeMetricFamily(
            "tutelage_gateway_shedding",
            "1 while shadow calls and judges are turned away because the event loop is behind.",
            value=float(self._pressure.shedding),
        )
        yield GaugeMetricFamily("tutelage_gateway_shadow_slots", "Shadow slots in use.", value=float(self._shadows()))
        breaker = GaugeMetricFamily(
            "tutelage_gateway_breaker", "Breaker per upstream: 0 closed, 1 half open, 2 open.", labels=["upstream"]
        )
        calls = GaugeMetricFamily(
            "tutelage_gateway_upstream_calls", "Calls under way per upstream.", labels=["upstream"]
        )
        for name, state, under_way in self._breakers():
            breaker.add_metric([name], _BREAKER[state])
            calls.add_metric([name], float(under_way))
        yield breaker
        yield calls
        yield from self._capture()

    def _capture(self) -> Iterable[Metric]:
        """eligible = durable + dropped + in_queue, read as of one moment."""
        counts = self._counts()
        yield CounterMetricFamily(
            "tutelage_gateway_capture_eligible", "Records offered to the spool.", value=float(counts.eligible)
        )
        yield CounterMetricFamily(
            "tutelage_gateway_capture_durable", "Records committed to disk.", value=float(counts.durable)
        )
        dropped = CounterMetricFamily("tutelage_gateway_capture_dropped", "Records lost, by reason.", labels=["reason"])
        for reason, count in counts.dropped.items():
            dropped.add_metric([reason], float(count))
        yield dropped
        yield GaugeMetricFamily(
            "tutelage_gateway_capture_in_queue", "Records waiting for the disk.", value=float(counts.in_queue)
        )
