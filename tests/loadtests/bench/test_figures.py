"""The arithmetic of the bench: medians, ratios of pairs, what cannot be told."""

import pytest

from loadtests.bench.figures import Spread, Unmeasured, added, ratios, series, shown, spread


def test_a_spread_is_median_lowest_and_highest():
    assert spread([3.0, 1.0, 2.0, 9.0]) == Spread(median=2.5, low=1.0, high=9.0)


def test_a_ratio_is_taken_round_by_round():
    # The machine grew four times slower in the second round: each pair still says 2.
    assert ratios([2.0, 8.0, 4.0], [1.0, 4.0, 2.0]) == Spread(median=2.0, low=2.0, high=2.0)
    assert ratios([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == Spread(median=2.0, low=1.0, high=3.0)


def test_rounds_that_are_no_pairs_have_no_ratio():
    with pytest.raises(ValueError, match="3 rounds against 2"):
        ratios([1.0, 2.0, 3.0], [1.0, 2.0])


def test_a_ratio_to_nothing_is_not_measured():
    with pytest.raises(Unmeasured, match="a ratio to 0"):
        ratios([1.0, 2.0], [1.0, 0.0])


def test_added_time_is_the_difference_of_neighbours():
    assert added([150.0, 190.0], [100.0, 120.0]) == [50.0, 70.0]


def test_a_series_that_is_not_there_names_table_and_system():
    with pytest.raises(Unmeasured, match="cpu_us plain of portkey was not measured"):
        series({"cpu_us plain": {"nginx": [1.0]}}, "cpu_us plain", "portkey")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (1234.4, "1,234"), (-12.34, "-12.3")]
)
def test_figures_are_shown_with_three_digits(value: float, text: str):
    assert shown(value) == text
