import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.stats import laws
from scoring.stats.planning import kl_inf, pairs_left, pairs_needed, planning_law

HISTOGRAMS = st.dictionaries(
    st.tuples(st.integers(1, 1000), st.integers(-1000, 1000)), st.integers(1, 50), min_size=1, max_size=10
)


@settings(max_examples=60)
@given(HISTOGRAMS)
def test_no_bet_on_a_fine_grid_beats_the_best_growth(histogram):
    keys = list(histogram)
    gains = np.array([w / 1000 * (d / 1000 + 0.05) for w, d in keys])
    mass = np.array([histogram[key] for key in keys]) / sum(histogram.values())
    grid = np.linspace(0, 1 / 0.95 * (1 - 1e-9), 400)
    best = max(0.0, float((np.log1p(np.multiply.outer(grid, gains)) @ mass).max()))
    assert kl_inf(histogram, null_mean=-0.05) >= best - 1e-9


@pytest.mark.parametrize(("mean", "bound"), [(0.02, 95), (0.0, 185), (-0.01, 291), (-0.02, 520), (-0.03, 1179)])
def test_the_information_bound_on_rubric_scores(mean, bound):
    growth = kl_inf(laws.rubric5(mean).as_histogram(), null_mean=-0.05)
    assert math.log(20) / growth == pytest.approx(bound, rel=0.03)


@pytest.mark.parametrize(
    ("margin", "alpha", "pairs"), [(0.02, 0.05, 1239), (0.05, 0.05, 204), (0.05, 0.005, 361), (0.10, 0.05, 57)]
)
def test_planned_pairs_on_rubric_scores(margin, alpha, pairs):
    growth = kl_inf(laws.rubric5().as_histogram(), null_mean=-margin)
    assert pairs_needed(alpha, growth=growth) == pytest.approx(pairs, rel=0.02)


def test_a_student_at_the_margin_never_arrives():
    growth = kl_inf({(1000, -50): 1}, null_mean=-0.05)
    assert pairs_needed(0.05, growth=growth) == math.inf


def test_a_forecast_is_a_band_that_shrinks_to_nothing_at_the_threshold():
    histogram = laws.rubric5().as_histogram(100)
    far = pairs_left(histogram, log_e=1.0, alpha=0.005, null_mean=-0.05, sigma0=0.27)
    near = pairs_left(histogram, log_e=5.0, alpha=0.005, null_mean=-0.05, sigma0=0.27)
    there = pairs_left(histogram, log_e=6.0, alpha=0.005, null_mean=-0.05, sigma0=0.27)
    assert far.low < far.middle < far.high
    assert near.middle < far.middle
    assert (there.low, there.high) == (0.0, 0.0)


def test_the_plan_is_as_noisy_as_it_says():
    assert planning_law(sigma0=0.3, count=10) == {(1000, -300): 5, (1000, 300): 5}
    assert planning_law(sigma0=0.0, count=10) == {(1000, 0): 10}
