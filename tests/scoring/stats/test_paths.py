"""Many runs at once tell what one run after the other would. What they measure is in `scoring.simulate.figures`."""

import numpy as np

from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.eprocess import log_e_of
from scoring.stats.paths import alarm_times, first_passages
from scoring.stats.shiryaev_roberts import fresh, statistic, step

MARGIN = 0.05


def test_many_at_once_are_the_same_as_one_by_one():
    rng = np.random.default_rng(12)
    d_milli = laws.rubric5(0.0).sample(rng, (3, 400))
    prior = planning_prior(null_mean=-MARGIN, sigma0=0.27)
    passed = first_passages(
        lambda runs, start, pairs: d_milli[runs, start : start + pairs], runs=3, horizon=400, prior=prior, alphas=(0.2,)
    )
    alarms = alarm_times(
        lambda runs, start, pairs: -d_milli[runs, start : start + pairs] - 200,
        runs=3, horizon=400, delta_r=0.05, thresholds=(100.0,),
    )  # fmt: skip
    for run in range(3):
        assert passed[run, 0] == _first_passage(d_milli[run].tolist(), prior, 0.2)
        assert alarms[run, 0] == _first_alarm([-d - 200 for d in d_milli[run].tolist()], 100.0)


def _first_passage(stream, prior, alpha):
    histogram: dict[tuple[int, int], int] = {}
    for n, d_milli in enumerate(stream, 1):
        histogram[1000, d_milli] = histogram.get((1000, d_milli), 0) + 1
        if log_e_of(histogram, prior) >= -np.log(alpha):
            return n
    return 0


def _first_alarm(stream, threshold):
    state = fresh()
    for n, d_milli in enumerate(stream, 1):
        state = step(state, max(-1000, d_milli), delta_r=0.05)
        if statistic(state, delta_r=0.05) >= threshold:
            return n
    return 0
