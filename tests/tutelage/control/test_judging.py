"""The rate of judging follows setting, spend and traffic, and is known before a pair is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tutelage.store.made import judgement, pair
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import validated
from tutelage.contracts.records import Spending
from tutelage.contracts.settings import Settings
from tutelage.control.judging import EVERY_S, JudgeRates
from tutelage.control.metrics import Metrics
from tutelage.store.base import Joined, Store
from tutelage.store.registry import open_store

NOON = 20_000.5 * 86_400.0
DAY = 20_000
PRICED = {"cost": {"prompt_usd_per_mtok": 1, "completion_usd_per_mtok": 1}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def settings(judge: dict[str, Any] | None, cost: dict[str, Any] | None = None) -> Settings:
    def upstream(name: str) -> dict[str, Any]:
        return {"kind": "openai", "base_url": f"http://{name}/v1", "model": name, **(PRICED if cost is None else cost)}

    route: dict[str, Any] = {"teacher": "t", "student": "s", "share": "1%"}
    judged = {} if judge is None else {"judge": {"upstream": "j", "both_orders": "0%"} | judge}
    return validated({"upstreams": {n: upstream(n) for n in "tsj"}, "routes": {"triage": route | judged}}, "test")


def rates(store: Store, judge: dict[str, Any] | None) -> JudgeRates:
    return JudgeRates(store, settings(judge), Metrics())


@pytest.mark.parametrize(
    ("judge", "expected"),
    [(None, {}), ({}, {"triage": 10_000}), ({"rate": "25%"}, {"triage": 2_500})],
    ids=["no judge", "auto", "a rate"],
)
def test_without_a_budget_the_setting_stands(store: Store, judge: dict[str, Any] | None, expected: dict[str, int]):
    assert rates(store, judge).now(NOON) == expected


def spend(store: Store) -> None:
    """20 pairs judged today, ten of them free, for $1 in all."""
    store.join(Joined(pairs=[pair(f"j{n}", NOON - 10_000) for n in range(20)]))
    store.judged([judgement(f"j{n}", method="judge", scored_at=NOON - 9_000) for n in range(20)])
    store.charge(Spending(route="triage", day=DAY, account="judge", calls=10, unpriced=0, nusd=10**9))


def busy(store: Store, pairs: int) -> None:
    """So many pairs in the last five minutes, some of them not drawn; all of them judged or set aside."""
    kept = [pair(f"p{n}", NOON - 1, excluded="not_drawn") for n in range(pairs)]
    store.join(Joined(pairs=kept))


def test_a_budget_is_divided_over_what_the_rest_of_the_day_will_bring(store: Store):
    """100 pairs in 5 minutes are 14,400 until midnight; a pair has cost $.05 so far; $180 are left."""
    busy(store, 100)
    spend(store)
    found = rates(store, {"max_usd_per_day": 181})
    assert found.now(NOON) == {"triage": 2_500}


def test_a_rate_that_is_set_is_kept_where_the_budget_affords_it(store: Store):
    busy(store, 100)
    spend(store)
    assert rates(store, {"max_usd_per_day": 181, "rate": "10%"}).now(NOON) == {"triage": 1_000}
    assert rates(store, {"max_usd_per_day": 181, "rate": "90%"}).now(NOON) == {"triage": 2_500}


def test_pairs_that_are_drawn_and_wait_are_paid_before_new_ones_are_drawn(store: Store):
    busy(store, 99)
    spend(store)
    store.join(Joined(pairs=[pair("waits", NOON - 2)]))
    assert rates(store, {"max_usd_per_day": 181.05}).now(NOON) == {"triage": 2_500}


def test_a_spent_day_draws_nothing_and_the_next_one_begins_anew(store: Store):
    spend(store)
    found = rates(store, {"max_usd_per_day": 1})
    assert found.now(NOON) == {"triage": 0}
    assert found.now(NOON + 43_200) == {"triage": 10_000}


def test_the_rate_is_looked_at_once_a_minute(store: Store):
    found = rates(store, {"max_usd_per_day": 1})
    assert found.now(NOON) == {"triage": 10_000}
    spend(store)
    assert found.now(NOON + EVERY_S - 1) == {"triage": 10_000}
    assert found.now(NOON + EVERY_S) == {"triage": 0}


def test_a_budget_for_a_judge_of_unknown_price_is_refused(store: Store):
    with pytest.raises(ConfigurationError, match="nobody knows what upstream 'j' costs"):
        JudgeRates(store, settings({"max_usd_per_day": 1}, cost={}), Metrics())
