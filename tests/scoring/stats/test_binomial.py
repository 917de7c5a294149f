import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from scoring.stats.binomial import lower_limit, upper_limit

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.9, 0.95, 0.99]))
def test_limits_are_those_of_clopper_and_pearson(counts, confidence):
    hits, trials = counts
    exact = binomtest(hits, trials).proportion_ci(1 - 2 * (1 - confidence), method="exact")
    assert lower_limit(hits, trials, confidence=confidence) == pytest.approx(exact.low, abs=1e-9)
    assert upper_limit(hits, trials, confidence=confidence) == pytest.approx(exact.high, abs=1e-9)


def test_no_trials_say_nothing():
    assert lower_limit(0, 0, confidence=0.99) == 0.0
    assert upper_limit(0, 0, confidence=0.99) == 1.0


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="hits <= trials"):
        lower_limit(3, 2, confidence=0.99)
