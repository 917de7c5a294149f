import numpy as np
import pytest

from scoring.stats.bets import GRID, planning_prior, stakes


@pytest.mark.parametrize("sigma0", [0.0, 0.05, 0.12, 0.27, 0.36, 1.0])
def test_a_prior_is_a_distribution_without_zeros(sigma0):
    weights = planning_prior(null_mean=-0.05, sigma0=sigma0).weights
    assert weights.shape == (16,)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (weights > 0).all()


def test_noisier_scores_are_bet_on_more_timidly():
    centres = [planning_prior(null_mean=-0.05, sigma0=sigma0).weights @ np.log(GRID) for sigma0 in (0.12, 0.27, 0.36)]
    assert centres == sorted(centres, reverse=True)


def test_a_plan_beyond_the_grid_bets_the_largest_stake():
    assert planning_prior(null_mean=-0.05, sigma0=0.01).weights[-1] > 0.99


def test_no_stake_can_lose_everything_on_a_single_pair():
    for null_mean in (-0.9, -0.05, 0.0, 0.05, 0.9):
        assert (1.0 + stakes(null_mean) * (-1.0 - null_mean) > 0.0).all()


def test_priors_of_the_same_plan_are_equal():
    assert planning_prior(null_mean=-0.05) == planning_prior(null_mean=-0.05)
    assert planning_prior(null_mean=-0.05) != planning_prior(null_mean=-0.05, sigma0=0.31)


@pytest.mark.parametrize("wrong", [{"null_mean": 0.0}, {"null_mean": -1.0}, {"null_mean": -0.05, "spread": 0.0}])
def test_a_plan_that_refutes_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="a prior needs"):
        planning_prior(**wrong)
