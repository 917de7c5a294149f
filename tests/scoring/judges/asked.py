"""One pair put to a judge at a real HTTP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scoring.judges import JUDGES, Asker, GatewayClient, JudgeSettled
from scoring.rubrics.scorer import Scorer
from tests.scoring.judges.server import JudgeServer
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.prices import PriceList
from tutelage.contracts.upstreams import CostSettings, UpstreamSettings

PRICES = PriceList(
    {
        "claude": UpstreamSettings(
            kind="openai",
            base_url="http://127.0.0.1:1",
            model="m",
            cost=CostSettings(prompt_usd_per_mtok=3, completion_usd_per_mtok=15),
        )
    }
)
CALL_NUSD = 1000 * 3_000 + 100 * 15_000


def settled(upstream: str) -> JudgeSettled:
    def cost(usage: Any, total_ms: float) -> int | None:
        price = PRICES.price("claude", usage, total_ms)
        return price.nusd if price is not None else None

    return JudgeSettled(upstream=upstream, version="v9", cost_nusd=cost)


@asynccontextmanager
async def judge_at(
    url: str, *, deadline_s: float = 20.0, fallback: str | None = None, both_bp: int = 0
) -> AsyncIterator[Asker]:
    client = GatewayClient(url, "tut-internal", deadline_s=deadline_s)
    second = None if fallback is None else settled(fallback)
    try:
        yield Asker(client, JUDGES, settled("claude"), second, both_bp=both_bp, observe=lambda *_: None)
    finally:
        await client.close()


async def judged(scorer: Scorer, server: JudgeServer, given: Pair, **how: Any) -> Judgement:
    async with judge_at(server.url, **how) as judge:
        draft = scorer.draft(given)
        return scorer.finish(draft, 1.0, await judge.judge(scorer.rubric, draft))
