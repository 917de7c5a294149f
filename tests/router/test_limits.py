import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.limits import Exceeded, Limits, Meter, Which


def which(exceeded: Exceeded | None) -> Which | None:
    return None if exceeded is None else exceeded.which


def test_a_key_without_limits_is_never_stopped():
    meter = Meter()
    assert all(meter.enter(Limits(), 0.0, 0) is None for _ in range(1_000))
    assert meter.reserve(Limits(), 10**12, 0.0) is None
    assert meter.open == 1_000


def test_what_is_open_is_bounded_and_comes_back():
    meter, limits = Meter(), Limits(concurrency=2)
    assert [which(meter.enter(limits, 0.0, 0)) for _ in range(3)] == [None, None, Which.CONCURRENCY]
    meter.leave()
    assert meter.enter(limits, 0.0, 0) is None


def test_a_minutes_requests_may_come_at_once_and_then_evenly():
    meter, limits = Meter(), Limits(requests=60)
    assert [which(meter.enter(limits, 100.0, 0)) for _ in range(61)] == [None] * 60 + [Which.REQUESTS]
    exceeded = meter.enter(limits, 100.25, 0)
    assert exceeded is not None
    assert (exceeded.limit, exceeded.remaining) == (60, 0)
    assert exceeded.wait_s == pytest.approx(0.75)
    assert meter.enter(limits, 101.0, 0) is None
    assert which(meter.enter(limits, 101.0, 0)) is Which.REQUESTS
    assert [which(meter.enter(limits, 1_000.0, 0)) for _ in range(61)] == [None] * 60 + [Which.REQUESTS]


def test_what_was_refused_is_not_counted():
    meter, limits = Meter(), Limits(concurrency=1, requests=2)
    assert meter.enter(limits, 0.0, 0) is None
    for _ in range(10):
        assert which(meter.enter(limits, 0.0, 0)) is Which.CONCURRENCY
    meter.leave()
    assert meter.enter(limits, 0.0, 0) is None
    assert meter.open == 1


def test_tokens_are_taken_by_estimate_and_corrected():
    meter, limits = Meter(), Limits(tokens=6_000)
    assert meter.reserve(limits, 6_000, 0.0) is None
    exceeded = meter.reserve(limits, 1_000, 0.0)
    assert exceeded is not None
    assert (exceeded.which, exceeded.remaining) == (Which.TOKENS, 0)
    assert exceeded.wait_s == pytest.approx(10.0)
    meter.correct(limits, -5_000)
    assert meter.reserve(limits, 1_000, 0.0) is None
    meter.correct(limits, 10_000)
    exceeded = meter.reserve(limits, 1, 0.0)
    assert exceeded is not None
    assert exceeded.wait_s == pytest.approx(60.0, abs=0.1), "6,000 tokens overdrawn are a minute"


def test_a_request_above_a_minutes_tokens_never_fits():
    exceeded = Meter().reserve(Limits(tokens=100), 101, 0.0)
    assert exceeded is not None
    assert (exceeded.which, exceeded.remaining, exceeded.wait_s) == (Which.TOKENS, 100, None)


def test_money_is_counted_per_day():
    meter, limits = Meter(), Limits(nusd=10)
    assert meter.enter(limits, 0.0, 1) is None
    meter.spend(10, 1)
    assert which(meter.enter(limits, 0.0, 1)) is Which.MONEY
    assert meter.enter(limits, 0.0, 2) is None
    meter.spend(9, 2)
    assert meter.enter(limits, 0.0, 2) is None


def test_parts_are_rounded_up_and_what_has_no_bound_has_none():
    assert Limits(concurrency=3, requests=1, tokens=100).part(2) == Limits(concurrency=2, requests=1, tokens=50)


@given(st.integers(1, 100), st.lists(st.floats(0, 10), max_size=300))
def test_in_any_minute_no_more_pass_than_a_full_bucket_and_what_it_refills(per_minute: int, pauses: list[float]):
    meter, limits, now = Meter(), Limits(requests=per_minute), 0.0
    passed: list[float] = []
    for pause_s in pauses:
        now += pause_s
        if meter.enter(limits, now, 0) is None:
            passed.append(now)
        recent = sum(at > now - 60 for at in passed)
        assert recent <= 2 * per_minute
        assert len(passed) <= per_minute * (1 + now / 60) + 1e-6
