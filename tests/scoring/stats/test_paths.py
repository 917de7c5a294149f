"""The figures on which the gate's promises rest, in a short seeded form with a look after every pair.

A rate's claim fails only when its 99 % lower limit exceeds it, a mean's when it is off by more than its error allows.
"""

import numpy as np
import pytest

from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.binomial import lower_limit
from scoring.stats.eprocess import log_e_of
from scoring.stats.paths import alarm_times, first_passages
from scoring.stats.shiryaev_roberts import fresh, statistic, step

MARGIN = 0.05


def stream(law, seed):
    rng = np.random.default_rng(seed)
    return lambda runs, start, pairs: law.sample(rng, (len(runs), pairs))


def changing(before, after, at, seed):
    rng = np.random.default_rng(seed)

    def draw(runs, start, pairs):
        early, late = before.sample(rng, (len(runs), pairs)), after.sample(rng, (len(runs), pairs))
        return np.where(np.arange(start, start + pairs) < at, early, late)

    return draw


def clustered(seed, turns=5):
    """Five dependent turns a conversation (half share one draw): the unit is their mean, rounded down."""
    rng, law = np.random.default_rng(seed), laws.rubric5(-MARGIN)

    def draw(runs, start, pairs):
        shared = law.sample(rng, (len(runs), pairs, 1))
        own = law.sample(rng, (len(runs), pairs, turns))
        return np.floor(np.where(rng.random(own.shape) < 0.577, shared, own).mean(axis=2)).astype(np.int64)

    return draw


BOUNDARY = {
    "rubric5": (stream(laws.rubric5(-MARGIN), 1), 0.273),
    "passfail": (stream(laws.passfail(-MARGIN), 2), 0.357),
    "weighted21": (stream(laws.weighted21(-MARGIN), 3), 0.124),
    "rare": (stream(laws.rare_catastrophe(), 4), 0.25),
    "clustered": (clustered(5), 0.18),
}


@pytest.mark.parametrize("law", BOUNDARY)
def test_a_student_at_the_margin_is_promoted_no_more_often_than_alpha(law):
    draw, sigma0 = BOUNDARY[law]
    prior = planning_prior(null_mean=-MARGIN, sigma0=sigma0)
    passed = first_passages(draw, runs=2000, horizon=4000, prior=prior, alphas=(0.05, 0.01))
    hits = (passed > 0).sum(axis=0)
    assert lower_limit(int(hits[0]), 2000, confidence=0.99) <= 0.05
    assert lower_limit(int(hits[1]), 2000, confidence=0.99) <= 0.01
    assert hits[0] > 20, "a test that never errs at the boundary is a test that asks for too many pairs"


@pytest.mark.parametrize(
    ("make", "at_05", "at_01"), [(laws.rubric5, 204, 308), (laws.passfail, 357, 532), (laws.weighted21, 72, 110)]
)
def test_an_equal_student_needs_the_pairs_that_the_documentation_says(make, at_05, at_01):
    law = make()
    prior = planning_prior(null_mean=-MARGIN, sigma0=law.sigma)
    passed = first_passages(stream(law, 6), runs=4000, horizon=20_000, prior=prior, alphas=(0.05, 0.01))
    assert (passed > 0).all()
    assert passed[:, 0].mean() == pytest.approx(at_05, rel=0.04)
    assert passed[:, 1].mean() == pytest.approx(at_01, rel=0.04)


@pytest.mark.parametrize("threshold", [100.0, 1000.0])
def test_false_alarms_are_as_rare_as_guaranteed(threshold):
    times = alarm_times(
        stream(laws.rubric5(-MARGIN), 7), runs=1500, horizon=60_000, delta_r=MARGIN, thresholds=(threshold,)
    )
    assert (times > 0).all()
    mean, error = times.mean(), times.std() / np.sqrt(len(times))
    assert mean >= threshold - 2 * error
    assert mean <= 1.15 * threshold + 2 * error


@pytest.mark.parametrize(("delta_r", "down", "back"), [(0.05, 160, 335), (0.03, 105, 200)])
def test_a_student_that_falls_to_minus_a_tenth_is_caught_in_time(delta_r, down, back):
    draw = changing(laws.rubric5(0.0), laws.rubric5(-0.10), 500, 8)
    times = alarm_times(draw, runs=1500, horizon=6000, delta_r=delta_r, thresholds=(1e3, 1e4), watched_from=500)
    assert (times > 0).all()
    errors = times.std(axis=0) / np.sqrt(len(times))
    assert (times.mean(axis=0) <= np.array([down, back]) + 2 * errors).all()


def test_the_delay_does_not_grow_with_age():
    delays = []
    for age, seed in ((500, 9), (4000, 10)):
        draw = changing(laws.rubric5(0.0), laws.rubric5(-0.10), age, seed)
        times = alarm_times(draw, runs=1200, horizon=6000, delta_r=0.05, thresholds=(1e3,), watched_from=age)
        delays.append((times.mean(), times.std() / np.sqrt(len(times))))
    (young, young_error), (old, old_error) = delays
    assert old <= 1.05 * young + 2 * (young_error + old_error)


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
