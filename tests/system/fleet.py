"""Many rollouts at once: one site with a route for each student, driven until every story is over.

The students are those of `replayed.py`. A `Story` says how its student is and when its route has been driven enough; what came of
it is read from the store afterwards: decisions, and how many pairs there were between two moments.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from examples.sections.task import chat_request, read_descriptions
from router.rollout import Phase, Rollout
from router.types import Direction
from tests.system.driving import client_of
from tests.system.replayed import EQUAL, HARMFUL, JUDGE
from tutelage.contracts.decisions import Decision
from tutelage.contracts.parts import family, is_part
from tutelage.contracts.values import PART
from tutelage.control import gates
from tutelage.control.decide import FACTS_EVERY_S
from tutelage.control.loop import TICK_S
from tutelage.control.replay import Again, Found, replay
from tutelage.demo.site import Site, free_port, running_process, running_site
from tutelage.demo.task import RECORDING, RUBRICS, provenance
from tutelage.store.base import QueueDepth, Store
from tutelage.store.registry import open_store

STAGES_BP = (0, 1000, 5000, 9000)
RUBRICS_OF = {"sections@1": RUBRICS, "judged@1": Path(__file__).parent / "rubrics"}
LATER = "later"
"""Who asks in every turn of a session but the first."""
CLIENTS = 24
LOOK_S = 0.25
TICKS = 'tutelage_control_ticks_total{result="active"}'
ALL_LOOKED_AT_TICKS = ceil(FACTS_EVERY_S / TICK_S) + 2
"""One may be under way, and the machinery is looked at every second."""
UNSCORED = 800
"""Requests that may be without a score before clients pause, shared by the routes: evidence is read as it comes."""
SETTLE_S = 120.0
SETTLED_S, A_ROUTE_S = 2.0, 0.1
"""Nothing new in this time, and in this much more for each route that control looks at in turn: all records have been joined."""


def at_top(rollout: Rollout) -> bool:
    return rollout.share_bp >= STAGES_BP[-1]


def rolled_back(rollout: Rollout) -> bool:
    return rollout.phase is Phase.ROLLED_BACK


@dataclass(kw_only=True)
class Story:
    """One route, or one part of a route, driven until its rollout is where the story ends, for `pairs_at_most` that were scored
    or for `requests_at_most`: half as many pairs take all but one in 100,000 equal students to the top.

    `degrades_at_bp` makes its student `worse` when its share gets there: where sessions have more than one turn, in the later
    ones alone. How many of `turns` a session has is drawn: users leave when they like.
    """

    route: str
    kind: str = EQUAL
    until: Callable[[Rollout], bool] = at_top
    requests_at_most: int = 12_000
    pairs_at_most: int | None = None
    degrades_at_bp: int | None = None
    worse: str = HARMFUL
    turns: int = 1
    requests: int = 0
    unscored: int = 0
    quiet_looks: int = 0
    scored: int | None = None
    degraded_at: float | None = None
    over: bool = False

    @property
    def goes_on(self) -> bool:
        enough = self.pairs_at_most is not None and (self.scored or 0) >= self.pairs_at_most
        return not (self.over or enough) and self.requests < self.requests_at_most

    def saw(self, depth: QueueDepth, settled_s: float) -> None:
        """How far the scores are. What has none after a while never will: a busy gateway sheds shadows."""
        new = depth.scored - (depth.scored if self.scored is None else self.scored)
        self.scored = depth.scored
        self.unscored -= new
        self.quiet_looks = 0 if new or depth.waiting else self.quiet_looks + 1
        if self.quiet_looks * LOOK_S >= settled_s:
            self.unscored = 0

    def degrades(self, rollout: Rollout) -> bool:
        """Whether its student is to get worse now."""
        return self.degrades_at_bp is not None and self.degraded_at is None and rollout.share_bp >= self.degrades_at_bp


class Fleet:
    """A running site, its store, and who answers as its students."""

    def __init__(self, site: Site, store: Store, routes: Sequence[str], students_url: str) -> None:
        self.site = site
        self.store = store
        self._routes = routes
        self._settled_s = SETTLED_S + A_ROUTE_S * len(routes)
        self._students_url = students_url
        self._inputs = [row.text for row in read_descriptions("heldout")]
        self._asked = self._known()

    async def play(self, stories: Sequence[Story], seed: int) -> None:
        """Drive every route until its story is over, and wait until all pairs are judged. Any error ends it."""
        await self.drive(stories, seed)
        await self.joined()
        async with asyncio.timeout(SETTLE_S):
            while self._total(lambda depth: depth.waiting):  # noqa: ASYNC110 other processes fill the store
                await asyncio.sleep(LOOK_S)

    async def joined(self) -> None:
        """Wait until every request is a pair, scored or not, or counted with a reason. A busy gateway sheds shadows: where some
        are missing, until no more come.
        """
        seen, quiet_since = -1, time.monotonic()
        async with asyncio.timeout(SETTLE_S):
            while (known := self._known()) < self._asked and time.monotonic() < quiet_since + self._settled_s:
                if known != seen:
                    seen, quiet_since = known, time.monotonic()
                await asyncio.sleep(LOOK_S)

    async def decided(self) -> None:
        """Wait until control has decided on every score there is: with all of them folded, for as many ticks as it takes to
        look at everything anew.
        """
        async with asyncio.timeout(SETTLE_S):
            while any(self.store.unfolded(route, 1, time.time()) for route in self._routes):  # noqa: ASYNC110 a process
                await asyncio.sleep(LOOK_S)
            decided_at = await self._ticks() + ALL_LOOKED_AT_TICKS
            while await self._ticks() < decided_at:  # noqa: ASYNC110 a process
                await asyncio.sleep(LOOK_S)

    async def _ticks(self) -> float:
        headers = {"authorization": f"Bearer {self.site.admin_key}"}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            told = (await http.get(f"{self.site.admin_url}/metrics")).raise_for_status().text
        return next(float(line.split()[-1]) for line in told.splitlines() if line.startswith(TICKS))

    async def drive(self, stories: Sequence[Story], seed: int) -> None:
        """Drive every route until its story is over."""
        for story in stories:
            await self.make(story.route, story.kind)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(stories))
            tasks.create_task(self._drive(stories, random.Random(seed)))

    def rollout(self, route: str) -> Rollout:
        found = self.store.rollout(route)
        assert found is not None
        return found

    def decisions(self, route: str) -> list[Decision]:
        """What moved the route, oldest first."""
        moved = [row for row in self.store.history(route, 1_000) if row.revision_to > row.revision_from]
        return sorted(moved, key=lambda row: row.revision_to)

    def scored_between(self, route: str, start: float, end: float) -> int:
        """Pairs of `route` that were admitted and scored in that time, UTC seconds: what a decision at its end could know."""
        admitted = [pair.id for pair in self.store.pairs(route, 100_000) if start <= pair.admitted_at <= end]
        return sum(row.scored_at <= end for pair in admitted for row in self.store.judgements(pair)[:1])

    def units(self, route: str) -> int:
        """What the evidence of `route` counts: forward units."""
        snapshot = self.store.snapshot()
        assert snapshot is not None
        return gates.look(self.store, snapshot, route, time.time()).view.state.overall.evidence.units

    def conversations(self, route: str) -> int:
        """Sessions of which there are forward pairs."""
        pairs = self.store.pairs(route, 100_000)
        return len({pair.sticky_key for pair in pairs if pair.direction is Direction.FORWARD})

    def decided_otherwise(self, routes: Iterable[str]) -> list[Again]:
        """What does not come out the same when everything is decided again from pairs and scores."""
        return [one for route in routes for one in replay(self.store, route, ()).again if one.found is not Found.SAME]

    async def make(self, route: str, kind: str) -> None:
        """Let the student of `route` be of that kind from now on, behind an unchanged version; the judge `up` or `down`."""
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self._students_url}/{route}", content=kind)).raise_for_status()

    async def _drive(self, stories: Sequence[Story], draw: random.Random) -> None:
        async with client_of(self.site) as http, asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self._client(http, stories[number % len(stories) :: CLIENTS], draw))

    async def _client(self, http: aiohttp.ClientSession, stories: Sequence[Story], draw: random.Random) -> None:
        """Each of `stories` in turn, as long as one is not over."""
        unscored_at_most = max(5, UNSCORED // len(self._routes))
        while active := [story for story in stories if story.goes_on]:
            ready = [story for story in active if story.unscored < unscored_at_most]
            if not ready:
                await asyncio.sleep(LOOK_S)
            for story in ready:
                session = f"{draw.getrandbits(64):016x}"
                for turn in range(draw.randint(1, story.turns)):
                    await self._ask(http, story, session, turn, draw)

    async def _ask(
        self, http: aiohttp.ClientSession, story: Story, session: str, turn: int, draw: random.Random
    ) -> None:
        """One turn of a session. Students see of whom it is: of a part, or of somebody who has asked before."""
        model, _, value = story.route.partition(PART)
        body = chat_request(draw.choice(self._inputs), model=model) | {"user": LATER if turn else value or "rest"}
        headers = {"x-tutelage-session": session, "x-tutelage-slice": value or "rest"}
        story.requests += 1
        story.unscored += 1
        self._asked += 1
        async with http.post("v1/chat/completions", json=body, headers=headers) as reply:
            assert reply.status == 200, f"{story.route}: {reply.status} {(await reply.text())[:300]}"
            await reply.read()

    async def _watch(self, stories: Sequence[Story]) -> None:
        """Look at every rollout now and then."""
        while any(story.goes_on for story in stories):
            await asyncio.sleep(LOOK_S)
            for story in stories:
                story.saw(self.store.depth(story.route), self._settled_s)
                rollout = self.rollout(story.route)
                if story.degrades(rollout):
                    await self.make(story.route if story.turns == 1 else f"{story.route}:{LATER}", story.worse)
                    story.degraded_at = time.time()
                story.over = story.over or story.until(rollout)

    def _known(self) -> int:
        """Requests of all time that are pairs, or of which it is known why they are none."""
        return self._total(lambda depth: depth.waiting + depth.scored + sum(depth.by_exclusion.values()))

    def _total(self, of: Callable[[QueueDepth], int]) -> int:
        return sum(of(self.store.depth(route)) for route in self._routes)


@asynccontextmanager
async def running_fleet(
    folder: Path,
    routes: Sequence[str],
    teacher_version: str = "1",
    rubric: str = "sections@1",
    heir: str | None = None,
    **route: Any,
) -> AsyncIterator[Fleet]:
    """A site with one gateway, one control and one worker, and a gated route of each name, in parts where `routes` names
    them. `folder` keeps what they know.

    `heir` names a successor that is declared in place of the routes' students. `route` has settings of all of them.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "tests.system.replayed", "--recording", str(RECORDING), "--port", str(port)]
    async with (
        running_process(argv, log=folder / "replayed.log", ready_url=f"{url}/health"),
        running_site(folder, document(url, routes, teacher_version, rubric, heir, **route)) as site,
    ):
        with closing(open_store(f"sqlite:///{site.data_dir}/tutelage.db")) as store:
            yield Fleet(site, store, routes, url)


def document(
    url: str, routes: Sequence[str], teacher_version: str, rubric: str, heir: str | None, **route: Any
) -> dict[str, Any]:
    """The configuration of a fleet: one teacher, one judge, a student for each route, or one heir for all."""
    made = provenance()
    student = {"kind": "vllm", "model": "student", "version": "1", "trained_until": made["trained_until"]}
    gated = {
        "teacher": "teacher",
        "capture": {"content": "full", "purpose": "tests"},
        "shadow": {"student": "100%", "teacher": "100%"},
        "unit": "request",
        "rubric": rubric,
        "judge": {"upstream": JUDGE},
        "rollout": {
            "stages": [f"{share_bp / 100:g}%" for share_bp in STAGES_BP],
            "sigma0": made["models"]["good"]["sigma0"],
            "dwell": "0s",
        },
        **route,
    }
    named = [name for name in routes if not is_part(name)]
    return {
        "rubrics": str(RUBRICS_OF[rubric]),
        "upstreams": {
            "teacher": {
                "kind": "openai",
                "base_url": f"{url}/teacher/v1",
                "model": "teacher",
                "version": teacher_version,
            },
            JUDGE: {"kind": "openai", "base_url": f"{url}/{JUDGE}/v1", "model": "judge", "version": "1"},
            **{f"student-{name}": {**student, "base_url": f"{url}/{name}/v1"} for name in named},
            **({} if heir is None else {heir: {**student, "base_url": f"{url}/{heir}/v1", "successor": True}}),
        },
        "routes": {
            name: {**gated, **_in_parts(gated, routes, name), "student": heir or f"student-{name}"} for name in named
        },
        "limits": {"shadows": 512},
    }


def _in_parts(gated: dict[str, Any], routes: Sequence[str], name: str) -> dict[str, Any]:
    """What lets the parts of `name` climb apart: weights are equal."""
    values = [part.partition(PART)[2] for part in family(routes, name) if is_part(part)]
    if not values:
        return {}
    carve_outs = {"slice": "slice", "weights": dict.fromkeys(values, 1 / (1 + len(values)))}
    return {
        "slices": {"routing": ["header:x-tutelage-slice"]},
        "rollout": {**gated["rollout"], "gates": {"carve_outs": carve_outs}},
    }
