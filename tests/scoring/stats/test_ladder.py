import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.stats.ladder import ALPHA_CAP, attempt_alpha, exposure_bound, log_threshold, rung_alphas

LADDERS = st.lists(st.integers(1, 10_000), min_size=1, max_size=8, unique=True).map(sorted)


@given(LADDERS, st.floats(1e-4, 0.2))
def test_higher_rungs_ask_for_more_and_the_top_for_alpha(shares, alpha):
    alphas = rung_alphas(shares, alpha=alpha)
    assert list(alphas) == sorted(alphas, reverse=True)
    assert alphas[-1] == pytest.approx(alpha)
    assert max(alphas) <= ALPHA_CAP
    assert [log_threshold(a) for a in alphas] == sorted(log_threshold(a) for a in alphas)


@given(LADDERS, st.floats(1e-4, 0.2))
def test_exposure_stays_below_what_the_rungs_allow(shares, alpha):
    assert 0.0 < exposure_bound(shares, alpha=alpha) <= shares[-1] / 10_000 * ALPHA_CAP + 1e-12


def test_attempts_for_ever_spend_twice_alpha():
    assert sum(attempt_alpha(0.005, v) for v in range(1, 20_000)) == pytest.approx(0.01, rel=1e-3)
    assert attempt_alpha(0.005, 1) == 0.005


def test_senseless_ladders_and_attempts_are_refused():
    for shares in ((), (0, 100), (500, 100), (100, 100)):
        with pytest.raises(ValueError, match="rising shares above 0"):
            rung_alphas(shares, alpha=0.005)
    with pytest.raises(ValueError, match="attempt"):
        attempt_alpha(0.005, 0)
