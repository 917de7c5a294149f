"""docs/METRICS.md against the code of all three roles."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway import metrics as of_gateway
from gateway.pressure import Pressure
from gateway.spool_queue import REASONS
from router.breaker import BreakerState
from router.types import Arm
from scoring.metrics import WorkerMetrics
from tests.tutelage.control.made import ROUTE, attempt, exchange, rollout, shadow
from tutelage.control.metrics import Metrics
from tutelage.store.base import Joined

DOCUMENT = (Path(__file__).parents[3] / "docs/METRICS.md").read_text()


class Counts:
    eligible = durable = in_queue = 0
    dropped = dict.fromkeys(REASONS, 0)


def gateway_registry() -> CollectorRegistry:
    metrics = of_gateway.Metrics()
    metrics.watch(
        of_gateway.State(
            open_requests=lambda: 0,
            held_bytes=lambda: 0,
            pressure=Pressure(),
            shadows=lambda: 0,
            breakers=lambda: [("gpt", BreakerState.CLOSED, 0)],
            counts=Counts,
        )
    )
    return metrics.registry


REGISTRIES = {
    "Gateway": gateway_registry,
    "Control": lambda: Metrics().registry,
    "Worker": lambda: WorkerMetrics().registry,
}


def documented(section: str) -> dict[str, str]:
    """Name to type, from the section's table."""
    text = DOCUMENT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE))


def defined(registry: CollectorRegistry) -> Iterable[tuple[str, str]]:
    for family in registry.collect():
        yield family.name + ("_total" if family.type == "counter" else ""), family.type


@pytest.mark.parametrize("section", list(REGISTRIES))
def test_the_table_is_what_the_code_defines(section: str):
    assert documented(section) == dict(defined(REGISTRIES[section]()))


def test_a_hold_that_went_is_shown_as_gone():
    metrics = Metrics()
    metrics.saw_rollout(rollout(holds=frozenset({"judge"})))
    metrics.saw_rollout(rollout())
    shown = metrics.scrape().decode()
    assert f'tutelage_rollout_hold{{hold="judge",route="{ROUTE}"}} 0.0' in shown
    assert f'tutelage_rollout_phase{{phase="SHADOW",route="{ROUTE}"}} 1.0' in shown


def test_money_is_counted_by_arm_and_purpose():
    metrics = Metrics()
    metrics.saw_record(exchange(attempts=(attempt(Arm.TEACHER, cost_nusd=2_000_000_000),)))
    metrics.saw_record(shadow(attempt=attempt(Arm.STUDENT, "shadow", cost_nusd=None)))
    metrics.saw_record(shadow(attempt=None, lost="shutdown"))
    shown = metrics.scrape().decode()
    assert f'tutelage_cost_usd_total{{arm="teacher",purpose="serve",route="{ROUTE}"}} 2.0' in shown
    assert 'arm="student"' not in shown


def test_nothing_joined_counts_nothing():
    metrics = Metrics()
    metrics.saw_joined(Joined())
    assert "tutelage_pairs_total{" not in metrics.scrape().decode()
