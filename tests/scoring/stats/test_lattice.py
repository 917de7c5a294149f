import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.stats.lattice import ceil_milli, floor_milli, mean, merged, opposed, size, standard_deviation, weight_milli

DIFFERENCES = st.floats(-1.0, 1.0)
HISTOGRAMS = st.dictionaries(st.tuples(st.integers(1, 1000), st.integers(-1000, 1000)), st.integers(1, 50), max_size=12)


@given(DIFFERENCES)
def test_rounding_never_moves_a_score_by_a_step_and_never_in_the_reader_s_favour(d):
    assert d - 0.001 < floor_milli(d) / 1000 <= d + 1e-9
    assert d - 1e-9 <= ceil_milli(d) / 1000 < d + 0.001


@given(st.integers(-1000, 1000))
def test_scores_on_the_lattice_are_not_moved(step):
    assert floor_milli(step / 1000) == step == ceil_milli(step / 1000)


@pytest.mark.parametrize("d", [math.nan, 1.001, -1.5, math.inf])
def test_what_is_no_score_difference_is_refused(d):
    with pytest.raises(ValueError, match=r"outside \[-1, 1\]"):
        floor_milli(d)
    with pytest.raises(ValueError, match=r"outside \[-1, 1\]"):
        ceil_milli(d)


def test_a_weight_needs_a_probability_at_or_above_its_floor():
    assert weight_milli(0.4, 0.1) == 250
    with pytest.raises(ValueError, match="floor <= probability"):
        weight_milli(0.1, 0.4)


@given(HISTOGRAMS, HISTOGRAMS, HISTOGRAMS)
def test_merging_adds_and_does_not_mind_the_order(a, b, c):
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert size(merged(a, b)) == size(a) + size(b)
    assert merged(a, {}) == dict(a)


@given(HISTOGRAMS)
def test_the_opposed_reading_is_the_mirror_image_at_most_one_step_worse_for_its_reader(histogram):
    mirror = opposed(histogram)
    assert size(mirror) == size(histogram)
    if histogram:
        assert -mean(histogram) - 0.001 - 1e-12 <= mean(mirror) <= -mean(histogram) + 1e-12


def test_an_empty_histogram_has_no_mean():
    assert math.isnan(mean({}))
    assert math.isnan(standard_deviation({}))
