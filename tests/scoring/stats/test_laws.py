import numpy as np
import pytest

from scoring.stats import laws


@pytest.mark.parametrize("make", [laws.rubric5, laws.passfail, laws.weighted21])
@pytest.mark.parametrize("mean", [-0.10, -0.05, 0.0, 0.02])
def test_the_mean_is_exact_and_the_law_is_one(make, mean):
    law = make(mean)
    assert law.mean == pytest.approx(mean, abs=1e-9)
    assert law.probability.sum() == pytest.approx(1.0)
    assert (law.probability >= 0).all()


def test_draws_follow_the_law():
    law = laws.rubric5(-0.05)
    draws = law.sample(np.random.default_rng(3), 200_000)
    found = np.array([(draws == d).mean() for d in law.d_milli])
    assert found == pytest.approx(law.probability, abs=0.005)


def test_the_rare_catastrophe_looks_harmless_most_of_the_time():
    law = laws.rare_catastrophe()
    assert law.mean == pytest.approx(-0.05)
    assert law.probability[law.d_milli == 0][0] == 0.90
