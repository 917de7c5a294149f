"""A slice that climbs apart has a part of the error rates: simulated with the gate as it is."""

from dataclasses import replace

from scoring.simulate.plan import Plan, epoch_of
from scoring.simulate.runs import run_all
from scoring.stats.binomial import lower_limit
from scoring.stats.ladder import rung_alphas
from scoring.stats.laws import rubric5

RUNS = 400
PAIRS = 1_500
STAGES_BP = (0, 100, 1000, 9000)
WEIGHT = 0.2
BAD = Plan(law=rubric5(-0.05), horizon=PAIRS, stages_bp=STAGES_BP, weight=WEIGHT)
ALPHAS = rung_alphas(STAGES_BP[1:], alpha=BAD.alpha)


def least_rates(plan: Plan) -> list[float]:
    """How often runs reach each live rung, at least (99 %)."""
    stories = run_all(plan, runs=RUNS, seed=20_261_124)
    counts = [sum(rung in story.reached for story in stories) for rung in range(1, len(STAGES_BP))]
    return [lower_limit(count, RUNS, confidence=0.99) for count in counts]


def test_a_bad_part_stands_on_a_rung_no_more_often_than_its_part_of_alpha_allows():
    allowed = [WEIGHT * alpha for alpha in ALPHAS]
    assert all(rate <= most for rate, most in zip(least_rates(BAD), allowed, strict=True))
    assert least_rates(replace(BAD, weight=1.0))[0] > allowed[0], "the whole of alpha is more than it may have"


def test_a_part_that_is_as_good_as_its_teacher_gets_to_the_top():
    plan = replace(BAD, law=rubric5(0.0), horizon=4_000)
    stories = run_all(plan, runs=40, seed=1)
    assert sum(3 in story.reached for story in stories) >= 38
    assert epoch_of(plan).weight == WEIGHT
