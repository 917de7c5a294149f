"""The human anchor: what it proves does not depend on the judge."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.binomial import lower_limit
from scoring.stats.eprocess import log_e_of
from scoring.stats.ppi import ipw_log_e, offset_log_e, planned_anchor

MARGIN, ALPHA = 0.05, 0.05
ANCHOR = planned_anchor(delta=MARGIN, sigma_judged=0.3, sigma_residual=0.2)
FLATTERS = np.array([-250, 0, 250]), np.array([0.1, 0.6, 0.3])
"""The judge's error: +.05 on average."""


def judged_and_labelled(mean, pairs, labels, seed):
    """Pairs (h, f) of a judge that flatters the student, the first `labels` of them labelled."""
    rng = np.random.default_rng(seed)
    h = laws.rubric5(mean).sample(rng, pairs)
    f = np.clip(h + rng.choice(FLATTERS[0], size=pairs, p=FLATTERS[1]), -1000, 1000)
    judged = Counter((1000, int(x)) for x in f)
    labelled = Counter((1000, int(x), int(y)) for x, y in zip(f[:labels], h[:labels], strict=True))
    return judged, labelled


def labels_of(labelled):
    """The labels without the judge."""
    plain: Counter[tuple[int, int]] = Counter()
    for (w, _, h), count in labelled.items():
        plain[w, h] += count
    return plain


def test_a_flattering_judge_promotes_a_student_at_the_margin_and_the_anchor_does_not():
    prior = planning_prior(null_mean=-MARGIN, sigma0=0.3)
    alone = anchored = 0
    for seed in range(120):
        judged, labelled = judged_and_labelled(-MARGIN, 2000, 200, seed)
        alone += log_e_of(judged, prior) >= -math.log(ALPHA)
        anchored += offset_log_e(judged, labelled, ANCHOR, alpha=ALPHA) >= -math.log(ALPHA)
    assert alone > 110
    assert lower_limit(anchored, 120, confidence=0.99) <= ALPHA


def test_a_good_student_passes_with_fewer_labels_than_without_the_judge():
    """More evidence at 250 labels than the same labels give alone."""
    with_judge, labels_alone = [], []
    prior = planning_prior(null_mean=-MARGIN, sigma0=0.3)
    for seed in range(20):
        judged, labelled = judged_and_labelled(0.0, 8000, 250, seed)
        with_judge.append(offset_log_e(judged, labelled, ANCHOR, alpha=ALPHA))
        labels_alone.append(log_e_of(labels_of(labelled), prior))
    assert np.mean(with_judge) > np.mean(labels_alone)
    assert np.mean(with_judge) > -math.log(ALPHA)


def test_without_belief_in_the_judge_the_labels_speak_for_themselves():
    judged, labelled = judged_and_labelled(0.0, 2000, 200, 1)
    doubter = planned_anchor(delta=MARGIN, sigma_judged=0.3, sigma_residual=0.3, eta=0.0)
    alone = log_e_of(labels_of(labelled), planning_prior(null_mean=-MARGIN, sigma0=0.3))
    assert offset_log_e(judged, labelled, doubter, alpha=ALPHA) == pytest.approx(alone + math.log(0.8))


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.sampled_from([100, 500, 1000]))
def test_every_pair_leaves_capital_and_a_better_label_never_less_of_it(f, h, weight):
    judged = {(1000, 0): 50, (1000, f): 1}
    worse = offset_log_e(judged, {(weight, f, h): 1}, ANCHOR, alpha=ALPHA)
    better = offset_log_e(judged, {(weight, f, min(1000, h + 100)): 1}, ANCHOR, alpha=ALPHA)
    assert math.isfinite(worse)
    assert better >= worse


def test_by_inverse_probability_the_mean_gain_at_the_margin_is_none():
    """One pair, labelled or not: E[exp log E] is 1 under H0, whatever the judge says."""
    prior = planning_prior(null_mean=-MARGIN / 8, sigma0=0.05)
    pi, eta = 0.2, 0.5
    law = laws.rubric5(-MARGIN)
    for f in (-500, 0, 750):
        total = 0.0
        for h, p in zip(law.d_milli.tolist(), law.probability, strict=True):
            labelled = ipw_log_e({}, {(1000, f, h): 1}, delta=MARGIN, eta=eta, label_probability=pi, prior=prior)
            plain = ipw_log_e({(1000, f): 1}, {}, delta=MARGIN, eta=eta, label_probability=pi, prior=prior)
            total += p * (pi * math.exp(labelled) + (1 - pi) * math.exp(plain))
        assert total == pytest.approx(1.0)


def test_nothing_seen_proves_nothing():
    assert offset_log_e({}, {}, ANCHOR, alpha=ALPHA) == pytest.approx(math.log(0.8))
    with pytest.raises(ValueError, match="eta"):
        planned_anchor(delta=MARGIN, sigma_judged=0.3, sigma_residual=0.2, eta=1.5)
