import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.stats.sampling import kish_factor, slice_rates

TRAFFIC = st.dictionaries(st.sampled_from("abcdef"), st.floats(1.0, 10_000.0), min_size=1)


@given(TRAFFIC, st.floats(0.0, 20_000.0), st.floats(0.0, 0.1), st.data())
def test_the_budget_holds_and_every_rate_is_a_probability(traffic, pairs, watch, data):
    unpassed = data.draw(st.sets(st.sampled_from(sorted(traffic))))
    rates = slice_rates(traffic, unpassed=unpassed, pairs=pairs, watch_rate=watch)
    assert set(rates) == set(traffic)
    assert all(watch <= rate <= 1.0 for rate in rates.values())
    bought = sum(rates[name] * traffic[name] for name in traffic)
    assert bought <= max(pairs, watch * sum(traffic.values())) + 1e-6 + watch * sum(traffic.values())


def test_slices_that_have_not_passed_get_equal_numbers_of_pairs():
    rates = slice_rates({"a": 1000.0, "b": 500.0, "c": 100.0}, unpassed={"a", "b"}, pairs=201.0, watch_rate=0.01)
    assert rates["a"] * 1000 == pytest.approx(rates["b"] * 500) == pytest.approx(100.0)
    assert rates["c"] == 0.01


def test_kish_is_one_for_equal_rates_and_less_for_others():
    assert kish_factor({"a": 3.0, "b": 1.0}, {"a": 0.2, "b": 0.2}) == pytest.approx(1.0)
    assert kish_factor({"a": 3.0, "b": 1.0}, {"a": 0.1, "b": 0.9}) < 1.0
