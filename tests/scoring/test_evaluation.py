import msgspec
import numpy as np
import pytest
from scipy.stats import ttest_1samp

from router.types import Arm
from scoring.evaluation import Compared, practical_margin, summarise
from tests.tutelage.store.made import attempt, judgement, pair


def compared(ds, **fields):
    return [Compared(pair=pair(f"p{n}", 1.0), judgement=judgement(f"p{n}", d=d, **fields)) for n, d in enumerate(ds)]


def test_mean_and_interval_are_those_of_the_t_test():
    d = np.random.default_rng(1).choice([-0.5, 0.0, 0.25], 80).tolist()
    found = summarise(compared(d))
    interval = ttest_1samp(d, 0.0).confidence_interval(0.95)
    assert found.mean_d == pytest.approx(np.mean(d))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.ties == d.count(0.0)


def test_what_is_suggested_is_a_little_above_the_estimate_and_a_gate_can_work_with_it():
    found = summarise(compared([-0.25, 0.25] * 60))
    assert 0.25 * 1.1 < (found.suggested_sigma0 or 0) <= 0.31
    assert found.suggested_margin == 0.05


def test_noise_asks_for_a_wider_margin():
    margins = [practical_margin(sigma) or 1.0 for sigma in (0.05, 0.15, 0.30, 0.60)]
    assert margins == sorted(margins)
    assert margins[0] < margins[-1]


def test_few_scores_suggest_nothing():
    found = summarise(compared([0.0, 0.5, -0.5]))
    assert found.mean_d == pytest.approx(0.0)
    assert found.suggested_sigma0 is None


def test_what_has_no_score_is_counted_and_never_zero():
    lost = Compared(
        pair=pair("x", 1.0), judgement=msgspec.structs.replace(judgement("x"), d=None, failure="no_reference")
    )
    late = Compared(pair=pair("y", 1.0), judgement=None, unjudged="judge_unavailable")
    found = summarise([*compared([0.5, 0.5]), lost, late])
    assert (found.inputs, found.scored, found.mean_d) == (4, 2, 0.5)
    assert found.failures == {"no_reference": 1, "judge_unavailable": 1}
    assert summarise([lost]).mean_d is None


def test_costs_that_are_not_known_are_not_nothing():
    paid = [msgspec.structs.replace(attempt(Arm.TEACHER), cost_nusd=cost) for cost in (3_000, 5_000)]
    rows = [
        Compared(pair=pair(f"p{n}", 1.0, teacher=one), judgement=judgement(f"p{n}", d=0.0, judge="j", cost_nusd=cost))
        for n, (one, cost) in enumerate(zip(paid, (None, 1_000), strict=True))
    ]
    found = summarise(rows)
    assert found.teacher.usd_per_call == pytest.approx(4e-6)
    assert found.student.usd_per_call is None
    assert found.judge_usd is None


def test_a_failed_arm_is_counted_and_its_time_is_not():
    slow = msgspec.structs.replace(attempt(Arm.STUDENT), error="status 500", answer=None, total_ms=9_000.0)
    found = summarise([*compared([0.0]), Compared(pair=pair("s", 1.0, student=slow), judgement=None)])
    assert found.student.failures == 1
    assert found.student.p95_ms == pytest.approx(2.0)
