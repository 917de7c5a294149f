import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budget import RetryBudget


def spent(budget: RetryBudget) -> int:
    count = 0
    while budget.spend():
        count += 1
    return count


def test_a_new_upstream_has_three_retries_saved():
    assert spent(RetryBudget(0.0)) == 3


@pytest.mark.parametrize(("calls_per_s", "retries"), [(1_000, 200), (100, 20), (15, 3), (2, 3), (0.5, 3)])
def test_a_fifth_of_the_calls_but_three_a_second_where_calls_are_rare(calls_per_s: float, retries: float):
    budget, made, seconds = RetryBudget(0.0), 0, 20
    spent(budget)
    for number in range(int(seconds * calls_per_s)):
        budget.earn((number + 1) / calls_per_s)
        made += spent(budget)
    assert made == pytest.approx(min(retries, 3 * calls_per_s) * seconds, abs=3 * calls_per_s)
    assert made <= retries * seconds


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 4)), max_size=200))
def test_nobody_gets_more_than_a_fifth_or_three_a_second_and_what_was_saved(steps: list[tuple[float, int]]):
    now, made = 0.0, 0
    budget = RetryBudget(now)
    for pause_s, wanted in steps:
        now += pause_s
        budget.earn(now)
        made += sum(budget.spend() for _ in range(wanted))
        assert made <= 3 + 0.2 * len(steps) + 3 * now + 1e-6
