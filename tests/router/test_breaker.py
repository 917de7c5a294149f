from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from router.breaker import Breaker, BreakerPolicy, BreakerState, Permit
from router.types import Outcome

POLICY = BreakerPolicy(
    consecutive_failures=3, window_s=10.0, min_calls=10, failure_rate_bp=5_000, backoff_s=4.0, backoff_max_s=16.0
)
FAILURE, SUCCESS, IGNORED = Outcome.FAILURE, Outcome.SUCCESS, Outcome.IGNORED


def call(breaker: Breaker, outcome: Outcome, now: float) -> None:
    permit = breaker.acquire(now)
    assert permit is not None
    breaker.settle(permit, outcome, now)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(3):
        call(breaker, FAILURE, now)
    assert state_of(breaker) is BreakerState.OPEN
    return breaker


def state_of(breaker: Breaker) -> BreakerState:
    """Asked anew each time: a type checker would take the first answer for good."""
    return breaker.state


def given_permit(breaker: Breaker, now: float) -> Permit:
    permit = breaker.acquire(now)
    assert permit is not None
    return permit


def test_it_opens_at_consecutive_failures_and_not_before():
    breaker = Breaker(POLICY)
    for outcome in (FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, IGNORED):
        call(breaker, outcome, 0.0)
    assert state_of(breaker) is BreakerState.CLOSED
    call(breaker, FAILURE, 0.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_it_opens_when_half_of_enough_recent_calls_failed():
    breaker = Breaker(POLICY)
    for _ in range(4):
        call(breaker, SUCCESS, 0.0)
        call(breaker, FAILURE, 0.0)
    call(breaker, SUCCESS, 0.0)
    assert state_of(breaker) is BreakerState.CLOSED, "nine calls are not enough"
    call(breaker, FAILURE, 0.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_what_is_older_than_the_window_does_not_count():
    breaker = Breaker(POLICY)
    for turn in range(40):
        call(breaker, FAILURE if turn % 2 else SUCCESS, turn * 2.5)  # half fail, but never ten within ten seconds
    assert state_of(breaker) is BreakerState.CLOSED


def test_ignored_calls_count_neither_for_nor_against():
    breaker = Breaker(POLICY)
    for _ in range(50):
        call(breaker, IGNORED, 0.0)
    for _ in range(2):
        call(breaker, FAILURE, 0.0)
        call(breaker, IGNORED, 0.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_open_lets_nothing_through_until_the_back_off_is_over():
    breaker = opened(100.0)
    assert not breaker.available(103.9)
    assert breaker.acquire(103.9) is None
    assert breaker.available(104.0)
    assert state_of(breaker) is BreakerState.OPEN, "looking changes nothing"


def test_half_open_lets_one_probe_through():
    breaker = opened()
    probe = given_permit(breaker, 4.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    assert breaker.acquire(4.0) is None
    assert not breaker.available(1000.0)
    breaker.settle(probe, SUCCESS, 5.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_failed_probe_opens_for_twice_as_long_up_to_the_bound_and_success_forgets_it():
    breaker, now = opened(), 0.0
    for backoff_s in (4.0, 8.0, 16.0, 16.0):
        assert breaker.acquire(now + backoff_s - 0.1) is None
        now += backoff_s
        call(breaker, FAILURE, now)
        assert state_of(breaker) is BreakerState.OPEN
    now += 16.0
    call(breaker, SUCCESS, now)
    for _ in range(3):
        call(breaker, FAILURE, now)
    assert breaker.available(now + 4.0)


def test_a_probe_that_says_nothing_leaves_its_place_to_the_next():
    breaker = opened()
    breaker.settle(given_permit(breaker, 4.0), IGNORED, 4.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.settle(given_permit(breaker, 4.0), SUCCESS, 4.0)
    assert state_of(breaker) is BreakerState.CLOSED


@pytest.mark.parametrize("late", [SUCCESS, FAILURE])
def test_what_began_before_the_last_change_comes_too_late(late: Outcome):
    breaker = Breaker(POLICY)
    slow = given_permit(breaker, 0.0)
    for _ in range(3):
        call(breaker, FAILURE, 0.0)
    breaker.settle(slow, late, 1.0)
    assert state_of(breaker) is BreakerState.OPEN
    probe = given_permit(breaker, 4.0)
    breaker.settle(slow, late, 4.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.settle(probe, SUCCESS, 4.0)
    for _ in range(3):
        breaker.settle(slow, FAILURE, 5.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_an_old_probe_says_nothing_about_the_next():
    breaker = opened()
    old = given_permit(breaker, 4.0)
    breaker.settle(old, IGNORED, 4.0)
    given_permit(breaker, 4.0)
    breaker.settle(old, FAILURE, 4.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    "build",
    [
        lambda: BreakerPolicy(consecutive_failures=0),
        lambda: BreakerPolicy(min_calls=0),
        lambda: BreakerPolicy(failure_rate_bp=0),
        lambda: BreakerPolicy(failure_rate_bp=10_001),
        lambda: BreakerPolicy(window_s=0.0),
        lambda: BreakerPolicy(backoff_s=0.0),
        lambda: BreakerPolicy(backoff_s=61.0),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(build: Callable[[], BreakerPolicy]):
    with pytest.raises(ValueError, match="BreakerPolicy"):
        build()


@given(st.lists(st.booleans(), max_size=200))
def test_while_an_upstream_fails_calls_on_it_are_few(wants: list[bool]):
    """A second per step: after the breaker has opened, at most one call per back-off."""
    breaker, made = Breaker(POLICY), 0
    for now, wanted in enumerate(wants):
        if wanted and (permit := breaker.acquire(float(now))) is not None:
            made += 1
            breaker.settle(permit, FAILURE, float(now))
    assert made <= 3 + 1 + len(wants) / 4


class AnyCalls(RuleBasedStateMachine):
    """Calls that begin and end in any order, time that passes: what always holds."""

    @initialize()
    def start(self) -> None:
        self.breaker = Breaker(POLICY)
        self.now = 0.0
        self.out: list[Permit] = []
        self.generation = 0

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        offered = self.breaker.available(self.now)
        closed = self.breaker.state is BreakerState.CLOSED
        permit = self.breaker.acquire(self.now)
        assert (permit is not None) == offered
        if permit is None:
            assert not closed
            return
        assert permit.generation == self.breaker.generation
        if not closed:
            assert self.breaker.state is BreakerState.HALF_OPEN
            assert all(permit.generation != other.generation for other in self.out), (
                "one probe has its generation alone"
            )
        self.out.append(permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(list(Outcome)))
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        state, late = self.breaker.state, permit.generation != self.breaker.generation
        changed = self.breaker.settle(permit, outcome, self.now)
        assert changed == (self.breaker.state is not state)
        if late:
            assert self.breaker.state is state
        elif state is BreakerState.HALF_OPEN:
            after = {SUCCESS: BreakerState.CLOSED, FAILURE: BreakerState.OPEN, IGNORED: BreakerState.HALF_OPEN}
            assert self.breaker.state is after[outcome]
        elif outcome is not FAILURE:
            assert self.breaker.state is BreakerState.CLOSED

    @invariant()
    def generations_only_rise(self) -> None:
        assert self.breaker.generation >= self.generation
        self.generation = self.breaker.generation

    @invariant()
    def it_is_never_shut_for_good(self) -> None:
        probe_is_out = any(permit.generation == self.breaker.generation for permit in self.out)
        if self.breaker.state is BreakerState.OPEN or not probe_is_out:
            assert self.breaker.available(self.now + POLICY.backoff_max_s)


TestAnyCalls = AnyCalls.TestCase
