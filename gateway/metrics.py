"""Metrics of one gateway process: every name begins with `tutelage_gateway_`, every label set is bounded.

Labels: `route` is a configured route, `default`, `passthrough`, or `none` where a request was refused before it had one; `arm`
teacher, student or `none`; `status` a class (2xx, 4xx, 5xx, gone); `upstream` a configured one; `cause` an error class of
`gateway.upstreams.base` or of `gateway.relay`. Observers only: nothing here can fail or delay a request.

To add a metric: its definition here and its row in docs/METRICS.md.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.tallies import Spans, Tallies
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
    """The counters that requests move. For the event loop's thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Tallies(
            "tutelage_gateway_requests",
            "Requests ended, by route, arm that answered, and class of the status that the client got.",
            ("route", "arm", "status"),
        )
        self._first_token = Spans(
            "tutelage_gateway_first_token_seconds",
            "From admission to the first byte of the answer's body.",
            ("route", "arm"),
            bounds_s=_SECONDS,
        )
        self._total = Spans(
            "tutelage_gateway_request_seconds",
            "From admission to the end of the answer.",
            ("route", "arm"),
            bounds_s=_SECONDS,
        )
        self._overhead = Spans(
            "tutelage_gateway_overhead_seconds",
            "The gateway's own part of the time to the answer's head: without the waits for upstreams.",
            ("route",),
            bounds_s=_OVERHEAD_SECONDS,
        )
        self._attempts = Tallies(
            "tutelage_gateway_attempts",
            "Upstream calls made to serve requests, by what became of them (`ok` or an error class).",
            ("upstream", "cause"),
        )
        self._retries = Tallies(
            "tutelage_gateway_retries",
            "Upstream calls made a second time before the first byte, by what was wrong with the first.",
            ("upstream", "cause"),
        )
        self._fallbacks = Tallies(
            "tutelage_gateway_fallbacks",
            "Requests that another arm took over before the first byte, by what was wrong with the first arm's answer.",
            ("route", "cause"),
        )
        self._outside = Tallies(
            "tutelage_gateway_plan_reasons",
            "Plans that did not follow the split, by reason (screened, pinned, breaker open).",
            ("route", "reason"),
        )
        self._shed = Tallies(
            "tutelage_gateway_shadow_shed",
            "Requests drawn for a shadow call that got no slot: not sampled.",
            ("route",),
        )
        self._truncated = Tallies(
            "tutelage_gateway_truncated",
            "Answers that broke off after their first byte, by cause.",
            ("route", "cause"),
        )
        self._refused = Tallies(
            "tutelage_gateway_refused",
            "Requests refused by the gateway itself, by error code.",
            ("code",),
        )
        self._fields = Tallies(
            "tutelage_gateway_fields",
            "Fields of requests that an upstream did not get as they came, by what became of them.",
            ("upstream", "field", "rule"),
        )
        self._snapshot = Gauge(
            "tutelage_gateway_snapshot_sequence",
            "Sequence of the snapshot in force.",
            registry=self.registry,
        )
        for family in vars(self).copy().values():
            if isinstance(family, Tallies | Spans):
                self.registry.register(family)

    def request(self, route: str, arm: str, status: str, total_s: float) -> None:
        """A request ended."""
        self._requests.count(route, arm, status)
        self._total.observe(total_s, route, arm)

    def head(self, route: str, arm: str, first_token_s: float, overhead_s: float) -> None:
        """An answer begins."""
        self._first_token.observe(first_token_s, route, arm)
        self._overhead.observe(overhead_s, route)

    def attempt(self, upstream: str, cause: str | None) -> None:
        self._attempts.count(upstream, cause or "ok")

    def retry(self, upstream: str, cause: str) -> None:
        self._retries.count(upstream, cause)

    def fallback(self, route: str, cause: str) -> None:
        self._fallbacks.count(route, cause)

    def reasons(self, route: str, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self._outside.count(route, reason)

    def shed(self, route: str) -> None:
        self._shed.count(route)

    def truncated(self, route: str, cause: str) -> None:
        self._truncated.count(route, cause)

    def refused(self, code: str) -> None:
        self._refused.count(code)

    def field(self, upstream: str, name: str, rule: str) -> None:
        """A field was dropped, translated or refused. The first of its kind is logged: it tells the app what it may leave out."""
        if self._fields.count(upstream, name, rule) == 1:
            log.info("field of a request does not travel as it came", upstream=upstream, field=name, rule=rule)

    def snapshot(self, sequence: int) -> None:
        self._snapshot.set(sequence)

    def watch(self, collector: Collector) -> None:
        """Add what is read when scraped."""
        self.registry.register(collector)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)


class State(Collector):
    """What is true at the moment of the scrape: open requests, shadows, breakers, capture's conservation law."""

    def __init__(
        self,
        *,
        open_requests: Callable[[], int],
        held_bytes: Callable[[], int],
        pressure: Strain,
        shadows: Callable[[], int],
        breakers: Callable[[], Iterable[tuple[str, BreakerState, int]]],
        counts: Callable[[], Counts],
    ) -> None:
        self._open_requests = open_requests
        self._held_bytes = held_bytes
        self._pressure = pressure
        self._shadows = shadows
        self._breakers = breakers
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "tutelage_gateway_open_requests", "Requests under way.", value=float(self._open_requests())
        )
        yield GaugeMetricFamily(
            "tutelage_gateway_held_bytes",
            "Bodies of requests and answers in memory, of limits.memory_mb.",
            value=float(self._held_bytes()),
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
