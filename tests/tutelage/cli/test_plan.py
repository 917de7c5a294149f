import time

import msgspec
import pytest

from router.types import Arm
from tests.tutelage.store.made import attempt, judgement, pair
from tutelage.store.base import Joined


def priced(arm, cost_nusd):
    return msgspec.structs.replace(attempt(arm), cost_nusd=cost_nusd)


def test_a_ladder_is_forecast_in_words_and_as_json(begun):
    told = begun.run("plan", "triage", "--calls-per-day", "20000", "--runs", "0")
    assert told.code == 0
    assert "reverse shadow unknown" in told.out
    document = begun.run("plan", "triage", "--calls-per-day", "20000", "--runs", "0", "--json").document
    assert [rung["share_bp"] for rung in document["rungs"]] == [0, 100, 1000]
    assert document["usd"] is None
    assert document["refusals"] == []


def test_too_few_calls_are_refused_with_a_shorter_ladder(begun):
    told = begun.run("plan", "triage", "--calls-per-day", "500", "--runs", "0")
    assert told.code == 1
    assert "REFUSED: the rung at 1 %" in told.out
    assert "stages: [0 %, 10 %, 90 %]" in told.out


def test_prices_and_traffic_come_from_the_captured_pairs(begun):
    now = time.time()
    made = [
        pair(f"p{n}", now - 60 - n, teacher=priced(Arm.TEACHER, 4_000_000), student=priced(Arm.STUDENT, 1_000_000))
        for n in range(5)
    ]
    begun.store.join(Joined(pairs=made))
    begun.store.judged([judgement(p.id) for p in made])
    document = begun.run("plan", "triage", "--runs", "0", "--json").document
    assert document["outlook"]["units_per_day"] == pytest.approx(5)
    assert document["outlook"]["teacher_usd"] == pytest.approx(0.004)
    assert document["outlook"]["judge_usd"] == 0.0


def test_what_cannot_be_planned_is_refused(begun):
    assert begun.run("plan", "nobody", "--calls-per-day", "10").code == 3
    assert "no rollout" in begun.run("plan", "fixed", "--calls-per-day", "10").err
    assert "--calls-per-day" in begun.run("plan", "triage").err


def test_the_odds_are_shown_beside_the_forecast(begun):
    told = begun.run("plan", "triage", "--calls-per-day", "20000", "--runs", "2")
    assert "true difference" in told.out
    assert "+0.02" in told.out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--calls-per-day", "1e400"),
        ("--calls-per-day", "0"),
        ("--turns", "inf"),
        ("--sigma", "nan"),
        ("--slice-share", "2"),
        ("--teacher-usd", "inf"),
    ],
)
def test_a_number_that_means_nothing_is_a_usage_error_that_names_the_option(begun, option: str, value: str):
    told = begun.run("plan", "triage", "--calls-per-day", "20000", option, value)
    assert told.code == 2
    assert option in told.err


def test_a_cost_that_is_not_known_says_how_to_make_it_known(begun):
    told = begun.run("plan", "triage", "--calls-per-day", "20000", "--runs", "0", "--teacher-usd", "0.004")
    assert "unknown: what a call of student costs; say --student-usd, or capture pairs with prices" in told.out
