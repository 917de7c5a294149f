import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.eprocess import log_capital, log_e, log_e_of, log_increment, lower_confidence, upper_confidence
from scoring.stats.lattice import LATTICE, merged, opposed

MARGIN = 0.05
PRIOR = planning_prior(null_mean=-MARGIN, sigma0=0.27)
PAIRS = st.lists(st.tuples(st.integers(1, 1000), st.integers(-1000, 1000)), min_size=1, max_size=200)


def counted(pairs):
    histogram: dict[tuple[int, int], int] = {}
    for key in pairs:
        histogram[key] = histogram.get(key, 0) + 1
    return histogram


@given(PAIRS)
def test_one_by_one_and_all_at_once_are_the_same_evidence(pairs):
    capital = np.zeros(16)
    for w_milli, d_milli in pairs:
        capital = capital + log_increment(w_milli, d_milli, -MARGIN)
    assert abs(log_e(capital, PRIOR) - log_e_of(counted(pairs), PRIOR)) <= 1e-9


@given(PAIRS, st.randoms(use_true_random=False), st.integers(0, 200))
def test_shuffled_split_and_stored_evidence_is_the_same_to_the_last_bit(pairs, random, cut):
    whole = log_e_of(counted(pairs), PRIOR)
    shuffled = list(pairs)
    random.shuffle(shuffled)
    parts = merged(counted(shuffled[cut:]), counted(shuffled[:cut]))
    stored = {tuple(key): count for key, count in json.loads(json.dumps([[list(k), c] for k, c in parts.items()]))}
    assert log_e_of(parts, PRIOR) == whole
    assert log_e_of(stored, PRIOR) == whole


def test_a_long_stream_keeps_the_engineering_bound():
    rng = np.random.default_rng(11)
    d_milli = laws.weighted21().sample(rng, 50_000)
    capital = np.zeros(16)
    for d in d_milli.tolist():
        capital = capital + log_increment(1000, d, -MARGIN)
    assert abs(log_e(capital, PRIOR) - log_e_of(counted((1000, d) for d in d_milli.tolist()), PRIOR)) <= 1e-9


@given(PAIRS, st.integers(1, 1000), st.integers(-1000, 999))
def test_evidence_never_falls_when_a_score_is_better(pairs, w_milli, d_milli):
    rest = counted(pairs)
    worse = log_e_of(merged(rest, {(w_milli, d_milli): 1}), PRIOR)
    better = log_e_of(merged(rest, {(w_milli, d_milli + 1): 1}), PRIOR)
    assert better >= worse - 1e-9


@given(st.integers(-1000, 999), st.floats(-0.4, 0.4))
def test_at_the_null_no_single_bet_gains_on_average(low, null_mean):
    """The supermartingale property itself: a two-point law with mean m leaves every bet's expected factor at 1."""
    high = 1000
    share_high = (null_mean * LATTICE - low) / (high - low)
    if not 0.0 <= share_high <= 1.0:
        return
    factors = (1 - share_high) * np.exp(log_increment(1000, low, null_mean))
    factors = factors + share_high * np.exp(log_increment(1000, high, null_mean))
    assert factors == pytest.approx(np.ones(16), abs=1e-9)


def test_a_larger_margin_is_easier_to_prove():
    histogram = laws.rubric5().as_histogram(400)
    found = [log_e_of(histogram, planning_prior(null_mean=-m, sigma0=0.27)) for m in (0.02, 0.05, 0.10)]
    assert found == sorted(found)


@settings(max_examples=25)
@given(PAIRS)
def test_the_lower_bound_is_where_the_evidence_ends(pairs):
    histogram = counted(pairs)
    bound = lower_confidence(histogram, PRIOR, alpha=0.05)
    need = np.log(20)
    assert -1.0 <= bound <= 1.0
    if bound > -0.999:
        assert log_e(log_capital(histogram, null_mean=bound), PRIOR) >= need - 1e-6
    assert log_e(log_capital(histogram, null_mean=min(bound + 1e-3, 0.999)), PRIOR) < need


def test_bounds_close_in_on_the_mean():
    mirror_prior = planning_prior(null_mean=MARGIN, mean0=0.10, sigma0=0.27)
    widths = []
    for pairs in (200, 2_000, 20_000):
        histogram = laws.rubric5(-0.02).as_histogram(pairs)
        low = lower_confidence(histogram, PRIOR, alpha=0.05)
        high = upper_confidence(opposed(histogram), mirror_prior, alpha=0.05)
        assert low < -0.02 < high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.02


@pytest.mark.parametrize(("w_milli", "d_milli"), [(0, 0), (1001, 0), (1000, 1001), (1000, -1001)])
def test_pairs_off_the_lattice_are_refused(w_milli, d_milli):
    with pytest.raises(ValueError, match="thousandths"):
        log_increment(w_milli, d_milli, -MARGIN)


def test_an_update_takes_microseconds():
    """Goal 15 µs per update; the best of several batches, so that a busy machine does not fail it."""
    capital = np.zeros(16)
    best = np.inf
    for _ in range(20):
        begun = time.perf_counter()
        for d_milli in range(-250, 250):
            capital = capital + log_increment(1000, d_milli, -MARGIN)
        best = min(best, (time.perf_counter() - begun) / 500)
    assert best < 15e-6
