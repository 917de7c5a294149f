"""A budget lasts all day: the rate falls before the money does, whatever the traffic."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.judges.budget import ASSUMED, ENOUGH_PAIRS, Budget, budget_of
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import validated
from tutelage.contracts.prices import PriceList
from tutelage.contracts.records import Spending
from tutelage.contracts.settings import Settings

BUDGET = Budget(cap_nusd=1_000_000, assumed_nusd=100)


def test_all_pairs_are_judged_while_the_budget_affords_them():
    assert BUDGET.rate_bp(spent_nusd=0, pair_nusd=100, waiting=0, expected=10_000) == 10_000
    assert BUDGET.rate_bp(spent_nusd=0, pair_nusd=100, waiting=0, expected=0) == 10_000


def test_a_spent_budget_affords_nothing_not_even_what_is_not_foreseen():
    assert BUDGET.rate_bp(spent_nusd=1_000_000, pair_nusd=100, waiting=0, expected=0) == 0


def test_the_rate_is_what_is_left_over_what_is_to_come():
    assert BUDGET.rate_bp(spent_nusd=0, pair_nusd=100, waiting=0, expected=40_000) == 2_500
    assert BUDGET.rate_bp(spent_nusd=500_000, pair_nusd=100, waiting=1_000, expected=40_000) == 1_000
    assert BUDGET.rate_bp(spent_nusd=1_000_000, pair_nusd=100, waiting=0, expected=1) == 0


@given(st.integers(0, 10**7), st.floats(1, 10**4), st.integers(0, 10**5), st.floats(0, 10**6))
def test_a_rate_is_a_share_and_never_promises_more_than_is_left(
    spent: int, pair_nusd: float, waiting: int, expected: float
):
    rate = BUDGET.rate_bp(spent_nusd=spent, pair_nusd=pair_nusd, waiting=waiting, expected=expected)
    assert 0 <= rate <= 10_000
    left = max(0.0, BUDGET.cap_nusd - spent - waiting * pair_nusd)
    assert rate / 10_000 * expected * pair_nusd <= left + 1e-6 * BUDGET.cap_nusd


def test_what_nobody_priced_costs_what_is_assumed():
    day = Spending(route="r", day=1, account="judge", calls=3, unpriced=2, nusd=50)
    assert BUDGET.spent_nusd(day) == 250
    assert BUDGET.spent_nusd(day, day) == 500


def test_a_mean_is_believed_when_there_is_one():
    assert BUDGET.pair_nusd(19, ENOUGH_PAIRS - 1) == 100
    assert BUDGET.pair_nusd(2_019, 59) == pytest.approx(2_019 / 59)
    assert BUDGET.pair_nusd(0, 40) == 0.0


def test_a_day_of_uneven_traffic_is_judged_to_its_end_and_within_the_cap():
    """Minute by minute, with the rush at noon that the morning does not foretell: every hour has its evidence."""
    rng = random.Random(7)
    spent, by_hour, seen = 0, [0] * 24, [0.0] * 60
    for minute in range(24 * 60):
        traffic = 30 if 11 * 60 <= minute < 14 * 60 else 10
        forecast = max(sum(seen[-5:]) / 5, sum(seen[-60:]) / 60) * (24 * 60 - minute)
        rate = BUDGET.rate_bp(spent_nusd=spent, pair_nusd=100, waiting=0, expected=forecast) if minute else 10_000
        drawn = sum(rng.random() < rate / 10_000 for _ in range(traffic))
        spent, by_hour[minute // 60] = spent + 100 * drawn, by_hour[minute // 60] + drawn
        seen.append(traffic)
    assert 0.85 * BUDGET.cap_nusd < spent <= BUDGET.cap_nusd
    assert min(by_hour) > 150


def settings(judge: dict[str, object], **cost: object) -> Settings:
    upstream = {"kind": "openai", "base_url": "http://x/v1", "model": "unheard-of"}
    document = {
        "upstreams": {"t": upstream | {"model": "t"}, "s": upstream | {"model": "s"}, "j": upstream | cost},
        "routes": {"r": {"teacher": "t", "student": "s", "share": "1%", "judge": {"upstream": "j"} | judge}},
    }
    return validated(document, "test")


def test_without_a_cap_there_is_no_budget_and_no_price_is_needed():
    assert budget_of(settings({}), "r", PriceList({})) is None


def test_a_cap_on_a_judge_of_unknown_price_is_refused():
    found = settings({"max_usd_per_day": 1})
    with pytest.raises(ConfigurationError, match=r"nobody knows what upstream 'j' costs; set upstreams\.j\.cost"):
        budget_of(found, "r", PriceList(found.upstreams))


def test_a_question_is_assumed_to_cost_what_its_usage_would():
    priced = {"cost": {"prompt_usd_per_mtok": 1, "completion_usd_per_mtok": 10}}
    found = settings({"max_usd_per_day": 2, "both_orders": "50%"}, **priced)
    budget = budget_of(found, "r", PriceList(found.upstreams))
    question = (ASSUMED.prompt or 0) * 1_000 + (ASSUMED.completion or 0) * 10_000
    assert budget == Budget(cap_nusd=2_000_000_000, assumed_nusd=round(1.5 * question))
