"""What a route's scoring refuses before anything runs."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from scoring.judges import GatewayClient
from scoring.routes import RouteScoring, scorings
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import validated

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def scoring_of(rubrics: Path, rubric: str, judge: dict[str, Any] | None, **gates: Any) -> RouteScoring:
    def upstream(name: str) -> dict[str, Any]:
        cost = {"prompt_usd_per_mtok": 3, "completion_usd_per_mtok": 15}
        return {"kind": "openai", "base_url": f"http://{name}/v1", "model": name, "trained_until": 1.0, "cost": cost}

    route = {
        "teacher": "t",
        "student": "s",
        "rubric": rubric,
        "rollout": {"gates": gates},
        "capture": {"content": "full", "purpose": "test"},
    }
    document = {
        "upstreams": {name: upstream(name) for name in ("t", "s", "j")},
        "routes": {"r": route if judge is None else route | {"judge": judge}},
    }
    client = GatewayClient("http://127.0.0.1:1", "key")
    try:
        await anyio.lowlevel.checkpoint()
        return scorings(validated(document, "test"), rubrics, client, lambda *_: None)["r"]
    finally:
        await client.close()


async def test_a_rubric_of_checks_needs_no_judge(rubrics: Path):
    assert (await scoring_of(rubrics, "sections@1", None)).judge is None


async def test_a_judged_rubric_without_a_judge_is_refused(rubrics: Path):
    with pytest.raises(ConfigurationError, match="needs a judge; add judge"):
        await scoring_of(rubrics, "judged@1", None)


async def test_ties_are_free_unless_a_floor_needs_their_score(rubrics: Path):
    assert (await scoring_of(rubrics, "judged@1", {"upstream": "j"})).scorer.ties == "free"
    assert (await scoring_of(rubrics, "judged@1", {"upstream": "j"}, floor=0.5)).scorer.ties == "asked"


async def test_a_floor_cannot_be_kept_by_comparisons(rubrics: Path):
    with pytest.raises(ConfigurationError, match="only compares"):
        await scoring_of(rubrics, "compared@1", {"upstream": "j"}, floor=0.5)
