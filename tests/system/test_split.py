"""A 10 % split through `tutelage serve`: nothing fails, nobody changes arm, nothing that was sampled goes missing."""

import math

from tests.system.conftest import StartSite
from tests.system.driving import ask_all, exchanges, until
from tutelage.demo.site import ROUTE
from tutelage.store.base import QueueDepth
from tutelage.store.registry import open_store

KEYS, REQUESTS, SHARE = 1_000, 2_000, 0.10
SIGMAS = 4.5
"""The salt is new in every run: by chance the share is farther off in one of 150,000."""


async def test_two_thousand_requests_of_a_thousand_keys_at_ten_percent(site: StartSite):
    async with site("10%") as running:
        answers = await ask_all(running, [f"user-{number % KEYS}" for number in range(REQUESTS)])
        await until(lambda: len(exchanges(running.data_dir)) == REQUESTS)
        durable = exchanges(running.data_dir)
        sampled = {exchange.id for exchange in durable if exchange.plan.shadow is not None}
        store = open_store(f"sqlite:///{running.data_dir}/tutelage.db")
        try:
            await until(lambda: _accounted(store.depth(ROUTE)) == len(sampled))
            pairs = {pair.id for pair in store.pairs(ROUTE, REQUESTS)}
        finally:
            store.close()

    assert answers.bad == []
    assert len(answers.ids) == len(set(answers.ids)) == REQUESTS
    assert {exchange.id for exchange in durable} == set(answers.ids)
    assert len(answers.arms) == KEYS
    assert all(len(arms) == 1 for arms in answers.arms.values())
    students = sum(arms == {"student"} for arms in answers.arms.values())
    assert abs(students - KEYS * SHARE) <= SIGMAS * math.sqrt(KEYS * SHARE * (1 - SHARE))
    assert 0 < len(sampled) < REQUESTS
    assert pairs == sampled


def _accounted(depth: QueueDepth) -> int:
    return depth.waiting + depth.scored + sum(depth.by_exclusion.values())
