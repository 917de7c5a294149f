"""The anchor watch: puts each labelled pair to the judge again, every so often, and stores what it says now beside what it
said first.

Owns when an anchor is due and who asks: one worker at a time, under a lease. Must not know what follows from drift: gates
read `JudgeStore.readings`.

An anchor is due when its last reading under the same rubric, judge and prompt is old enough. So a round that was cut off,
by a judge that cannot be reached or a worker that died, goes on where it stopped, and another judge or prompt begins with
first readings of its own. The parts of a route have its judge and its rubric: what is read for the route is read for all.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from scoring.judges import Judge, JudgeUnavailable
from scoring.metrics import WorkerMetrics
from scoring.routes import RouteScoring
from scoring.rubrics.anchors import Anchor
from scoring.rubrics.scorer import JUDGE_UNSCORABLE, Scorer
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.pairs import AnchorReading
from tutelage.contracts.parts import is_part
from tutelage.store.base import AnchorState, Judging, Store

log = structlog.get_logger()

LOOK_EVERY_S = 60.0
LEASE_S = 600.0
"""Longer than one anchor takes, in both orders with both judges; renewed for each."""


class AnchorWatch:
    """Watches the judges of `routes`. `holder` names this worker in the lease."""

    def __init__(
        self,
        store: Store,
        routes: Mapping[str, RouteScoring],
        *,
        holder: str,
        metrics: WorkerMetrics,
        clock: Callable[[], float],
        new_id: Callable[[float], str],
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._store = store
        self._routes = {name: route for name, route in routes.items() if route.anchors and not is_part(name)}
        self._holder = holder
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id
        self._look_every_s = look_every_s

    async def run(self) -> None:
        """Watch until cancelled; what cannot be read now is read at a later look."""
        while self._routes:
            for name in self._routes:
                try:
                    await self.look(name)
                except (JudgeUnavailable, StoreUnavailable) as fault:
                    log.warning("anchors wait", route=name, reason=str(fault))
                except Exception:  # loop top: a fault at one route must not end the watch
                    log.exception(
                        "anchors of a route could not be read; they are due again at the next look", route=name
                    )
                    self._metrics.anchor_crashed(name)
            await asyncio.sleep(self._look_every_s)

    async def look(self, name: str) -> int:
        """Read what is due of one route; how many readings that were. Raises JudgeUnavailable, StoreUnavailable."""
        route = self._routes[name]
        judge = route.judge
        if judge is None:
            return 0
        known = await asyncio.to_thread(self._store.anchors, _judging(name, route.scorer, judge))
        due = [anchor for anchor in route.anchors if self._is_due(known.get(anchor.id), route.anchors_every_s)]
        lease_name = f"anchors/{name}"
        for number, anchor in enumerate(due):
            lease = await asyncio.to_thread(self._store.acquire, lease_name, self._holder, LEASE_S, self._clock())
            if lease is None:
                return number
            reading = await self._read(name, route, judge, anchor, known.get(anchor.id))
            await asyncio.to_thread(self._store.put_readings, [reading])
            self._metrics.read_anchor(reading)
        return len(due)

    def _is_due(self, state: AnchorState | None, every_s: float) -> bool:
        return state is None or self._clock() >= state.last_at + every_s

    async def _read(
        self, name: str, route: RouteScoring, judge: Judge, anchor: Anchor, state: AnchorState | None
    ) -> AnchorReading:
        """What the judge says now. Where only its fallback could say something, the judge itself said nothing."""
        labels = {} if anchor.reference is None else {anchor.id: anchor.reference}
        scorer = replace(route.scorer, labels=labels)
        draft = scorer.draft(anchor.pair(name))
        judgement = scorer.finish(draft, self._clock(), await judge.judge(scorer.rubric, draft))
        under = _judging(name, scorer, judge)
        itself = judgement.judge == under.judge
        return AnchorReading(
            id=self._new_id(judgement.scored_at),
            route=name,
            rubric=under.rubric,
            anchor=anchor.id,
            at=judgement.scored_at,
            d=judgement.d if itself else None,
            reference_d=None if state is None else state.reference_d,
            label_d=anchor.d,
            judge=under.judge,
            judge_version=under.judge_version,
            prompt_hash=under.prompt_hash,
            failure=judgement.failure if itself else JUDGE_UNSCORABLE,
            cost_nusd=judgement.cost_nusd,
        )


def _judging(name: str, scorer: Scorer, judge: Judge) -> Judging:
    who = judge.identity(scorer.rubric)
    return Judging(
        route=name,
        rubric=scorer.rubric.id,
        judge=who.upstream,
        judge_version=who.version,
        prompt_hash=who.prompt_hash,
    )
