import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.stats.binomial import lower_limit
from scoring.stats.rates import log_e_above, log_e_split, lower_rate

ALPHA = 0.05


def test_a_rate_at_its_limit_is_called_too_high_no_more_often_than_alpha_however_often_one_looks():
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(400):
        hits = np.cumsum(rng.random(3000) < 0.02)
        alarms += any(log_e_above(int(hits[n]), n + 1, rate=0.02) >= -math.log(ALPHA) for n in range(0, 3000, 25))
    assert lower_limit(alarms, 400, confidence=0.99) <= ALPHA
    assert alarms > 0


def test_a_rate_well_above_its_limit_is_found():
    assert lower_rate(110, 10_000, alpha=ALPHA) > 0.005
    assert lower_rate(55, 10_000, alpha=ALPHA) < 0.005


@given(st.floats(0.001, 0.999), st.floats(0.0, 1.0))
def test_the_mean_gain_under_the_null_hypothesis_is_none(rate, fraction):
    true = rate * fraction
    mean = true * math.exp(log_e_above(1, 1, rate=rate)) + (1 - true) * math.exp(log_e_above(0, 1, rate=rate))
    assert mean <= 1.0 + 1e-9


@given(st.integers(1, 9_999))
def test_a_split_as_told_gains_nothing_on_average(share_bp):
    p = share_bp / 10_000
    student, teacher = math.exp(log_e_split({share_bp: (1, 1)})), math.exp(log_e_split({share_bp: (1, 0)}))
    assert p * student + (1 - p) * teacher == pytest.approx(1.0)


def test_a_split_that_moves_as_told_is_no_fault_and_one_that_is_off_is_found():
    rng = np.random.default_rng(2)
    moving = {bp: (5_000, int(rng.binomial(5_000, bp / 10_000))) for bp in (100, 1000, 5000, 9000)}
    assert log_e_split(moving) < -math.log(0.001)
    off = {bp: (5_000, round(5_000 * (bp + 300) / 10_000)) for bp in (1000, 5000)}
    assert log_e_split(off) > -math.log(0.001)
    assert log_e_split({0: (10, 1)}) == math.inf
    assert log_e_split({0: (10, 0), 10_000: (7, 7)}) == pytest.approx(0.0)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="hits <= trials"):
        log_e_above(3, 2, rate=0.1)
