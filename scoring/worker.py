"""The worker: takes pairs from the queue, scores them, writes judgements. It holds nothing; any number may run.

    python -m scoring.worker --config FILE

Owns the loop, its bounds and what becomes of a pair that cannot be scored. Must not know what a score means
(`scoring.rubrics.scorer`), how a judge is asked (`scoring.judges`) or what a gate makes of it.

A claim hides a pair for `VISIBLE_S`; a worker that dies loses its claims, and the pair comes back. Judgements are upserted
by (pair, rubric version, method), so that a pair is scored once per rubric version however often it is delivered.

| what happens to a pair | what the worker does |
|---|---|
| checks decide | judgements of a batch written in one transaction |
| a judge has to be asked | at most `JUDGE_SLOTS` at a time, each written when it is there |
| the judge cannot be reached | requeued, `backoff_s` later; never a failure |
| the judge's budget of the day is spent | requeued until the next UTC day |
| the input has no right answer | failure `no_reference`, d None: outside the population, counted by control, never -1 |
| scoring crashes | requeued; from `MAX_DELIVERIES` deliveries on failure `worker_failed`, unscorable |
| the worker died `MAX_DELIVERIES` times over it | the same, unseen |
| its route has no rubric here | requeued: another worker may know the route |

Deliveries of a pair that waits for its judge do not count against it: it is given up only where the crash is seen.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import stamina
import structlog

from scoring.anchors import AnchorWatch
from scoring.judges import GatewayClient, JudgeUnavailable
from scoring.metrics import WorkerMetrics, serve_metrics
from scoring.routes import RouteScoring, scorings
from scoring.rubrics.load import rubrics_folder
from scoring.rubrics.scorer import JUDGE, Draft
from tutelage import logs
from tutelage.contracts.errors import ConfigurationError, StoreUnavailable
from tutelage.contracts.ids import uuid7
from tutelage.contracts.load import load, secret
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.records import Spending
from tutelage.contracts.settings import Settings
from tutelage.store.base import Claimed, Store
from tutelage.store.registry import open_store
from tutelage.tasks import Tasks

log = structlog.get_logger()

BATCH = 256
JUDGE_SLOTS = 16
VISIBLE_S = 60.0
VISIBLE_JUDGED_S = 300.0
"""Longer than a judge call with its second question and both deadlines."""
IDLE_S = 0.5
MAX_DELIVERIES = 5
FIRST_BACKOFF_S = 2.0
MAX_BACKOFF_S = 300.0
STOP_S = 5.0
"""How long the end waits for judge calls in flight; what is left is given back at once."""
STORE_ATTEMPTS = 5
DAY_S = 86_400.0
KEY_VARIABLE = "TUTELAGE_INTERNAL_KEY"

T = TypeVar("T")


class Worker:
    """One loop over one store. Call `stop` from a signal handler; `run` then ends when what is in hand is written."""

    def __init__(
        self,
        store: Store,
        routes: Mapping[str, RouteScoring],
        *,
        name: str,
        metrics: WorkerMetrics,
        clock: Callable[[], float],
        idle_s: float = IDLE_S,
        visible_s: float | None = None,
    ) -> None:
        self._store = store
        self._routes = routes
        self._name = name
        self._metrics = metrics
        self._clock = clock
        self._idle_s = idle_s
        self._judged = any(route.judge is not None for route in routes.values())
        self._visible_s = visible_s or (VISIBLE_JUDGED_S if self._judged else VISIBLE_S)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._stopping = asyncio.Event()
        self._freed = asyncio.Event()
        self._calls = Tasks()

    def stop(self) -> None:
        self._stopping.set()
        self._freed.set()

    async def run(self) -> None:
        """Score until `stop`. What is claimed and not scored by then is given back."""
        try:
            while not self._stopping.is_set():
                if await self._round() == 0:
                    await self._rest()
        finally:
            cut = await self._calls.drain(STOP_S)
            self._thread.shutdown()
            log.info("ended", judge_calls_cut=cut)

    async def _round(self) -> int:
        """Claim and score once; returns how many pairs came. An outage of the store is waited out."""
        try:
            limit = await self._free()
            if self._stopping.is_set():
                return 0
            claimed = await self._ask(self._store.claim, self._name, limit, self._visible_s, self._clock())
            await self._score(claimed)
            return len(claimed)
        except StoreUnavailable as fault:
            log.warning("store unavailable; trying again", reason=str(fault))
            return 0

    async def _free(self) -> int:
        """How many pairs may be claimed: as many as there are free judge slots where pairs may need one."""
        if not self._judged:
            return BATCH
        while len(self._calls) >= JUDGE_SLOTS and not self._stopping.is_set():
            self._freed.clear()
            await self._freed.wait()
        return max(1, JUDGE_SLOTS - len(self._calls))

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._idle_s)

    # --- one batch ----------------------------------------------------------------------------------------------------

    async def _score(self, claimed: Sequence[Claimed]) -> None:
        done: list[tuple[Pair, Judgement]] = []
        for claim in claimed:
            route = self._routes.get(claim.pair.route)
            if route is None:
                await self._give_back(claim, "no_rubric")
                continue
            outcome = self._by_checks(route, claim)
            if isinstance(outcome, Judgement):
                done.append((claim.pair, outcome))
            elif outcome is None:
                await self._give_back(claim, "crash")
            elif await self._is_spent(route, claim.pair.route):
                await self._give_back(claim, "budget")
            else:
                self._start(route, claim, outcome)
        await self._write(done)

    async def _is_spent(self, route: RouteScoring, name: str) -> bool:
        """Whether the day's budget is spent, with what is in flight. Other workers' calls in flight may overrun it."""
        if route.budget is None:
            return False
        today = await self._ask(self._store.spend, name, day_of(self._clock()))
        spent_nusd = route.budget.spent_nusd(today)
        in_flight_nusd = len(self._calls) * route.budget.pair_nusd(spent_nusd, today.calls)
        return spent_nusd + in_flight_nusd >= route.budget.cap_nusd

    def _by_checks(self, route: RouteScoring, claim: Claimed) -> Judgement | Draft | None:
        """A judgement, or a draft that a judge has to see, or None where the pair is to be tried again."""
        now = self._clock()
        if claim.deliveries > MAX_DELIVERIES and route.scorer.method != JUDGE:
            return route.scorer.given_up(claim.pair, now, claim.deliveries)
        try:
            draft = route.scorer.draft(claim.pair, claim.correction)
            return draft if draft.needs_judge else route.scorer.finish(draft, now)
        except Exception:  # loop top: a pair that breaks its scorer must not end the worker
            log.exception("scoring a pair crashed", pair=claim.pair.id, route=claim.pair.route)
        return route.scorer.given_up(claim.pair, now, claim.deliveries) if _spent(claim) else None

    def _start(self, route: RouteScoring, claim: Claimed, draft: Draft) -> None:
        self._metrics.in_flight.inc()
        task = self._calls.start(self._by_judge(route, claim, draft), name=f"judge {claim.pair.id}")
        task.add_done_callback(lambda _: self._call_ended())

    def _call_ended(self) -> None:
        self._metrics.in_flight.dec()
        self._freed.set()

    async def _by_judge(self, route: RouteScoring, claim: Claimed, draft: Draft) -> None:
        """Ask the judge about one pair and write what it said, or give the pair back."""
        try:
            judgement = await self._asked(route, draft)
        except asyncio.CancelledError:
            await self._give_back(claim, "shutdown")
            raise
        except JudgeUnavailable as fault:
            log.warning("judge unavailable", route=claim.pair.route, reason=str(fault))
            await self._charge(claim.pair.route, fault.cost_nusd)
            await self._give_back(claim, "judge")
            return
        except Exception:  # loop top: the same for a pair at the judge
            log.exception("judging a pair crashed", pair=claim.pair.id, route=claim.pair.route)
            if not _spent(claim):
                await self._give_back(claim, "crash")
                return
            judgement = route.scorer.given_up(claim.pair, self._clock(), claim.deliveries)
        await self._write([(claim.pair, judgement)])

    async def _asked(self, route: RouteScoring, draft: Draft) -> Judgement:
        if route.judge is None:
            raise JudgeUnavailable(
                f"rubric {route.scorer.rubric.id} needs a judge: set routes.{draft.pair.route}.judge"
            )
        verdict = await route.judge.judge(route.scorer.rubric, draft)
        return route.scorer.finish(draft, self._clock(), verdict)

    # --- the store ----------------------------------------------------------------------------------------------------

    async def _write(self, done: Sequence[tuple[Pair, Judgement]]) -> None:
        if not done:
            return
        await self._ask(self._store.judged, [judgement for _, judgement in done])
        for pair, judgement in done:
            self._metrics.judged(pair.route, judgement)

    async def _give_back(self, claim: Claimed, reason: str) -> None:
        now = self._clock()
        not_before = {"shutdown": now, "budget": next_day(now)}.get(reason, now + backoff_s(claim.deliveries))
        await self._ask(self._store.requeue, claim.pair.id, not_before)
        self._metrics.requeued(claim.pair.route, reason)

    async def _charge(self, route: str, cost_nusd: int | None) -> None:
        """What was paid for questions that came to no judgement."""
        if cost_nusd != 0:
            day, unpriced = day_of(self._clock()), int(cost_nusd is None)
            paid = Spending(route=route, day=day, account="judge", calls=1, unpriced=unpriced, nusd=cost_nusd or 0)
            await self._ask(self._store.charge, paid)

    async def _ask(self, method: Callable[..., T], *arguments: Any) -> T:
        """Call the store on its own thread; a short outage is tried again before anything is lost."""
        async for attempt in stamina.retry_context(on=StoreUnavailable, attempts=STORE_ATTEMPTS, timeout=30.0):
            with attempt:
                return await asyncio.get_running_loop().run_in_executor(self._thread, method, *arguments)
        raise StoreUnavailable("the store was not asked")  # pragma: no cover - stamina returns or raises


def backoff_s(deliveries: int) -> float:
    """How long a pair waits after its n-th delivery: 2, 4, 8 … seconds, at most five minutes."""
    return float(min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(deliveries - 1, 20)))


def day_of(now: float) -> int:
    """The UTC day of a time, in days since 1970."""
    return int(now // DAY_S)


def next_day(now: float) -> float:
    """When the next UTC day begins."""
    return (day_of(now) + 1) * DAY_S


def _spent(claim: Claimed) -> bool:
    return claim.deliveries >= MAX_DELIVERIES


# --- composition root -------------------------------------------------------------------------------------------------


def internal_key(settings: Settings, environment: Mapping[str, str]) -> str:
    """The key of judge calls: from `internal.key`, else the environment variable that `tutelage serve` sets, else none.

    Raises ConfigurationError where `internal.key` names a variable that is not set.
    """
    if settings.internal.key is not None:
        return secret(settings.internal.key, environment)
    return environment.get(KEY_VARIABLE, "")


async def serve(settings: Settings, config: Path) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    metrics = WorkerMetrics()
    key = internal_key(settings, os.environ)
    client = GatewayClient(settings.internal.gateway_url, key)
    routes = scorings(settings, rubrics_folder(config, settings.rubrics), client, metrics.call)
    if not key and any(route.judge is not None for route in routes.values()):
        raise ConfigurationError(f"judge calls need a key: set internal.key, or {KEY_VARIABLE} in the environment")
    store = open_store(settings.store.url)
    name = f"{socket.gethostname()}-{os.getpid()}"
    worker = Worker(store, routes, name=name, metrics=metrics, clock=time.time)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    end_metrics = serve_metrics(metrics, settings.gateway.bind.rpartition(":")[0], settings.gateway.metrics_port)
    anchors = AnchorWatch(store, routes, holder=name, metrics=metrics, clock=time.time, new_id=uuid7)
    watching = asyncio.create_task(anchors.run(), name="anchors")
    log.info("ready", routes=sorted(routes), rubrics=sorted({route.scorer.rubric.id for route in routes.values()}))
    try:
        await worker.run()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        end_metrics()
        store.close()
        await client.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m scoring.worker", description="Score pairs.")
    parser.add_argument("--config", type=Path, default=Path("tutelage.yaml"))
    logs.add_option(parser)
    chosen = parser.parse_args(arguments)
    config: Path = chosen.config
    logs.configure("worker", chosen.log_to)
    try:
        asyncio.run(serve(load(config), config))
    except ConfigurationError as fault:
        log.error("cannot start", reason=str(fault))  # noqa: TRY400 - the message is the fix, a traceback is not
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
