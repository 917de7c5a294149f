"""A load test passes when both sides' books agree, nothing was lost and memory stands; each of them can fail it."""

from dataclasses import replace

import pytest

from loadtests.users.__main__ import read
from loadtests.users.verdict import LONG_S, Books, Client, Sample, judged, line, text

CLIENT = Client(requests=100, failures=0, p50_ms=5, p99_ms=9, requests_per_s=10, complaints=())
BOOKS = Books(by_status={"2xx": 100.0}, eligible=120, durable=120, dropped=0, in_queue=0)
STEADY: list[Sample] = [(float(second), 80.0) for second in range(60)]


def climbing(seconds: int, mb_per_hour: float) -> list[Sample]:
    return [(float(second), 80.0 + mb_per_hour * second / 3600) for second in range(seconds)]


def failed(client: Client = CLIENT, books: Books = BOOKS, memory: list[Sample] = STEADY) -> list[str]:
    return [row.what for row in judged(client, books, memory) if not row.passed]


def test_books_that_agree_and_steady_memory_pass():
    assert failed() == []
    assert text(judged(CLIENT, BOOKS, STEADY), CLIENT).endswith("\npassed")


def test_one_error_fails_and_its_reason_is_shown():
    unhappy = replace(CLIENT, failures=1, complaints=("1 × status 503: no",))
    assert failed(client=unhappy) == ["errors"]
    shown = text(judged(unhappy, BOOKS, STEADY), unhappy)
    assert "complaint: 1 × status 503: no" in shown
    assert shown.endswith("\nFAILED")


def test_a_test_in_which_nobody_asked_anything_fails():
    nobody = replace(CLIENT, requests=0)
    nothing = Books(by_status={}, eligible=0, durable=0, dropped=0, in_queue=0)
    assert failed(client=nobody, books=nothing) == ["errors"]


@pytest.mark.parametrize("by_status", [{"2xx": 99.0}, {"2xx": 101.0}, {"2xx": 99.0, "gone": 1.0}])
def test_a_gateway_that_counts_otherwise_than_its_clients_fails(by_status: dict[str, float]):
    assert failed(books=replace(BOOKS, by_status=by_status)) == ["gateway's count of requests"]


@pytest.mark.parametrize(
    "books",
    [
        replace(BOOKS, durable=119.0, dropped=1.0),
        replace(BOOKS, eligible=121.0),
        replace(BOOKS, eligible=99.0, durable=99.0),
    ],
    ids=["dropped", "law broken", "fewer than requests"],
)
def test_lost_records_fail(books: Books):
    assert failed(books=books) == ["records captured"]


def test_a_short_test_is_held_to_absolute_growth():
    assert failed(memory=climbing(60, mb_per_hour=100)) == []  # 1.7 MB a minute: noise of a minute
    assert failed(memory=climbing(60, mb_per_hour=2_000)) == ["gateway's memory"]


def test_a_long_test_is_held_to_a_percent_an_hour():
    seconds = int(LONG_S * 1.6)
    assert failed(memory=climbing(seconds, mb_per_hour=0.7)) == []
    assert failed(memory=climbing(seconds, mb_per_hour=1.0)) == ["gateway's memory"]


def test_growth_while_warming_up_does_not_count():
    slope, _, level = line([(0.0, 10.0), (10.0, 40.0), (30.0, 80.0), (40.0, 80.0), (60.0, 80.0)])
    assert slope == pytest.approx(0.0)
    assert level == pytest.approx(80.0)


def test_the_gateways_books_are_read_from_its_metrics():
    books = read(
        """
# TYPE tutelage_gateway_requests_total counter
tutelage_gateway_requests_total{arm="teacher",route="a",status="2xx"} 40.0
tutelage_gateway_requests_total{arm="student",route="a",status="2xx"} 50.0
tutelage_gateway_requests_total{arm="none",route="a",status="gone"} 1.0
# TYPE tutelage_gateway_capture_eligible_total counter
tutelage_gateway_capture_eligible_total 100.0
# TYPE tutelage_gateway_capture_durable_total counter
tutelage_gateway_capture_durable_total 97.0
# TYPE tutelage_gateway_capture_dropped_total counter
tutelage_gateway_capture_dropped_total{reason="queue_full"} 1.0
tutelage_gateway_capture_dropped_total{reason="disk_full"} 1.0
# TYPE tutelage_gateway_capture_in_queue gauge
tutelage_gateway_capture_in_queue 1.0
"""
    )
    assert books == Books(by_status={"2xx": 90.0, "gone": 1.0}, eligible=100, durable=97, dropped=2, in_queue=1)
