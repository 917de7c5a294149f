import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.stats import shiryaev_roberts as sr


@given(st.lists(st.integers(-1000, 1000), max_size=60))
def test_the_state_follows_the_recursion(stream):
    state, plain = sr.fresh(), [0.0] * 10
    stakes = np.geomspace(0.08, 0.95, 10) / 1.05
    for d_milli in stream:
        state = sr.step(state, d_milli, delta_r=0.05)
        plain = [(1.0 + m) * (1.0 + stake * -(d_milli / 1000 + 0.05)) for m, stake in zip(plain, stakes, strict=True)]
        plain = [min(m, sr.CEILING) for m in plain]
    assert state == pytest.approx(np.array(plain))
    assert (state >= 0).all()


def test_copies_that_saw_the_same_pair_step_together():
    copies = np.stack((sr.fresh(), np.full(10, 7.0)))
    together = sr.step(copies, -500, delta_r=0.05)
    assert together[0] == pytest.approx(sr.step(copies[0], -500, delta_r=0.05))
    assert together[1] == pytest.approx(sr.step(copies[1], -500, delta_r=0.05))


def test_at_the_boundary_the_statistic_grows_by_one_a_pair_on_average():
    """R_n - n is a martingale there, which is what the run length guarantee rests on."""
    state = np.full(10, 3.0)
    worse = sr.statistic(sr.step(state, -1000, delta_r=0.05), delta_r=0.05)
    better = sr.statistic(sr.step(state, 900, delta_r=0.05), delta_r=0.05)
    assert 0.5 * worse + 0.5 * better == pytest.approx(sr.statistic(state, delta_r=0.05) + 1.0)


def test_harm_raises_and_success_lowers_it():
    state = np.full(10, 50.0)
    now = sr.statistic(state, delta_r=0.05)
    assert sr.statistic(sr.step(state, -1000, delta_r=0.05), delta_r=0.05) > now
    assert sr.statistic(sr.step(state, 1000, delta_r=0.05), delta_r=0.05) < now


def test_the_state_is_bounded_whatever_comes():
    state = sr.fresh()
    for _ in range(500):
        state = sr.step(state, -1000, delta_r=0.05)
    assert state.max() == sr.CEILING


def test_a_budget_is_spent_once():
    assert sr.pooled([(0.25, 40.0), (0.75, 8.0)]) == 16.0
    with pytest.raises(ValueError, match="more than 1"):
        sr.pooled([(0.6, 1.0), (0.6, 1.0)])


def test_off_the_lattice_or_with_an_impossible_margin_it_refuses():
    with pytest.raises(ValueError, match="thousandths"):
        sr.step(sr.fresh(), 1001, delta_r=0.05)
    with pytest.raises(ValueError, match="delta_r"):
        sr.step(sr.fresh(), 0, delta_r=1.0)


def test_drift_in_either_direction_is_seen_and_within_the_tolerance_grows_by_one_a_pair():
    state = np.stack((np.full(10, 3.0), np.full(10, 5.0)))
    now = sr.drift_statistic(state, tolerance=0.05)
    expected = 0.0
    for change, probability in ((1.0, 0.525), (-1.0, 0.475)):  # mean +.05: the boundary of the rising side
        after = sr.drift_step(state, change, tolerance=0.05)
        expected += probability * sr.drift_statistic(after, tolerance=0.05)
    assert expected <= now + 1.0 + 1e-9
    for sign in (-1.0, 1.0):
        moved = sr.fresh_drift()
        for _ in range(80):
            moved = sr.drift_step(moved, sign * 0.25, tolerance=0.05)
        assert sr.drift_statistic(moved, tolerance=0.05) > 1_000


def test_each_side_reads_a_change_rounded_against_itself():
    state = sr.drift_step(sr.fresh_drift(), -0.2501, tolerance=0.0)
    assert state[0] == pytest.approx(sr.step(sr.fresh(), -250, delta_r=0.0))
    assert state[1] == pytest.approx(sr.step(sr.fresh(), 251, delta_r=0.0))
