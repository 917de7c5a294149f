"""A table of accounts, and what the student has saved."""

import math

import msgspec
import pytest

from router.types import Arm
from scoring.economics import (
    FixedCosts,
    Line,
    Statement,
    account_of,
    break_even,
    spendings_of,
    statement_of,
)
from tests.tutelage.store.made import attempt
from tutelage.contracts.records import ShadowAttempt, Spending


def line(calls, usd, unpriced=0):
    return Line(calls=calls, unpriced=unpriced, usd=usd)


TEACHER = line(1000, 10.0)  # a cent a call

TABLE = [
    (
        "it serves and is watched",
        {"student": line(500, 0.5), "reverse": line(100, 1.0), "judge": line(100, 0.25)},
        3.25,
    ),
    ("in shadow it only costs", {"shadow": line(1000, 1.0), "judge": line(1000, 2.5)}, -3.5),
    ("measured, the teacher is dearer there", {"student": line(500, 0.5), "reverse": line(30, 0.6)}, 8.9),
    ("too few reverse calls to go by", {"student": line(500, 0.5), "reverse": line(29, 0.58)}, 3.92),
    ("asked again for a client that hung up", {"student": line(500, 0.5), "rescore": line(1, 0.1)}, 4.4),
    ("a judge without a price", {"student": line(500, 0.5), "judge": line(9, 0.0, unpriced=9)}, None),
    ("a student without a price", {"student": line(500, 0.0, unpriced=500)}, None),
    ("nothing happened", {}, 0.0),
]


@pytest.mark.parametrize(("says", "lines", "net"), TABLE, ids=[row[0] for row in TABLE])
def test_the_net_is_what_the_teacher_would_have_cost_less_everything_else(says, lines, net):
    found = Statement(days=1, lines={"teacher": TEACHER, **lines}).net_usd
    assert found == (None if net is None else pytest.approx(net))


def test_the_teachers_price_unknown_makes_the_saving_unknown_and_is_named():
    statement = Statement(days=1, lines={"teacher": line(10, 0.0, unpriced=10), "student": line(10, 0.1)})
    assert statement.net_usd is None
    assert statement.unknown == ("teacher",)
    assert statement.as_json()["accounts"]["teacher"]["usd"] is None


@pytest.mark.parametrize(
    ("fixed", "days"),
    [
        (FixedCosts(data_usd=100, training_usd=50, evaluation_usd=50), 200 / 4.5),
        (FixedCosts(data_usd=200, upkeep_usd_per_day=2), 200 / 2.5),
        (FixedCosts(data_usd=200, upkeep_usd_per_day=5), math.inf),
        (FixedCosts(), 0.0),
        (FixedCosts(upkeep_usd_per_day=9), math.inf),
    ],
)
def test_fixed_costs_are_earned_at_the_daily_net(fixed, days):
    statement = Statement(days=2, lines={"teacher": TEACHER, "student": line(1000, 1.0)})
    even = break_even(statement, fixed)
    assert even is not None
    assert even.days == pytest.approx(days)


def test_without_a_net_there_is_no_break_even():
    assert break_even(Statement(days=3, lines={"judge": line(1, 0.0, 1)}), FixedCosts(data_usd=1)) is None
    assert break_even(Statement(days=0), FixedCosts(data_usd=1)) is None


@pytest.mark.parametrize(
    ("arm", "purpose", "account"),
    [
        (Arm.TEACHER, "serve", "teacher"), (Arm.TEACHER, "fallback", "teacher"), (Arm.TEACHER, "retry", "teacher"),
        (Arm.STUDENT, "serve", "student"), (Arm.STUDENT, "shadow", "shadow"), (Arm.TEACHER, "shadow", "reverse"),
        (Arm.STUDENT, "rescore", "rescore"), (Arm.TEACHER, "rescore", "rescore"),
    ],
)  # fmt: skip
def test_every_call_belongs_to_one_account(arm, purpose, account):
    assert account_of(msgspec.structs.replace(attempt(arm), purpose=purpose)) == account


def shadow(number, **fields):
    call = msgspec.structs.replace(attempt(Arm.STUDENT), purpose="shadow", started=86_400.0 * 3, **fields)
    return ShadowAttempt(
        id=f"s{number}", exchange_id="e", gateway="g", route="triage", ended_at=1.0, attempt=call, params_hash="p"
    )


def test_calls_are_summed_by_day_and_a_price_that_is_not_known_is_counted():
    records = [
        shadow(1, cost_nusd=5),
        shadow(2, cost_nusd=7),
        shadow(3),
        shadow(4, error="timeout"),
        shadow(5, cost_nusd=0),
        shadow(6, error="truncated", broke=True),
        shadow(7, error="status_500", cost_nusd=1),
        shadow(8, error="too_large", cost_nusd=2),
    ]
    assert spendings_of(records) == (Spending(route="triage", day=3, account="shadow", calls=6, unpriced=2, nusd=15),)


def test_a_statement_spans_its_days():
    rows = [Spending(route="r", day=day, account="teacher", calls=1, unpriced=0, nusd=10**9) for day in (3, 5)]
    statement = statement_of(rows)
    assert (statement.days, statement.line("teacher").usd) == (3, 2.0)
