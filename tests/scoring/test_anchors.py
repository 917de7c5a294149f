"""The anchor watch on the real store and a judge behind HTTP: read when due, compared with the first plain reading."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scoring.anchors import LOOK_EVERY_S, AnchorWatch
from scoring.judges import JudgeUnavailable
from scoring.metrics import WorkerMetrics
from scoring.routes import RouteScoring
from scoring.rubrics.anchors import Anchor, anchors_of
from scoring.rubrics.scorer import Scorer, compile_rubric
from tests.scoring.judges.asked import judge_at
from tests.scoring.judges.server import JudgeServer, judge_server, verdict
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.pairs import AnchorReading
from tutelage.store.base import Store
from tutelage.store.registry import open_store

pytestmark = pytest.mark.anyio
DAY_S = 86_400.0
ANCHORS = (
    Anchor(id="refund", request="Where is my money?", teacher="On its way.", student="Gone.", d=-0.75),
    Anchor(id="hello", request={"messages": []}, teacher="Hello.", student="Hi."),
)
UNUSABLE = verdict(9, 9)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


@pytest.fixture
def scorer(rubrics: Path) -> Scorer:
    return compile_rubric(rubrics, "judged@1")


class Clock:
    """A clock that stands still until it is set."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@asynccontextmanager
async def watch(
    store: Store,
    scorer: Scorer,
    server: JudgeServer,
    clock: Clock = CLOCK,
    *,
    holder: str = "w",
    routes: Sequence[str] = ("r",),
    look_every_s: float = LOOK_EVERY_S,
    **how: Any,
) -> AsyncIterator[AnchorWatch]:
    async with judge_at(server.url, both_bp=10_000, **how) as judge:
        route = RouteScoring(scorer=scorer, judge=judge, anchors=ANCHORS, anchors_every_s=DAY_S)
        ids = iter(range(10_000))
        yield AnchorWatch(
            store,
            dict.fromkeys(routes, route),
            holder=holder,
            metrics=WorkerMetrics(),
            clock=clock,
            new_id=lambda at: f"{holder} {at} {next(ids)}",
            look_every_s=look_every_s,
        )


def readings(store: Store) -> list[AnchorReading]:
    return [reading for _, reading in store.readings("r", 0, 100)]


async def watched(anchors: AnchorWatch, store: Store) -> None:
    """Let the watch run until every anchor has been read."""
    watching = asyncio.create_task(anchors.run())
    async with asyncio.timeout(60):
        while len(readings(store)) < len(ANCHORS):  # noqa: ASYNC110 the watch says nothing of its own
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_each_anchor_is_read_once_a_day_and_compared_with_its_first_reading(store: Store, scorer: Scorer):
    clock = Clock()
    with judge_server(verdict(4, 4)) as server:
        async with watch(store, scorer, server, clock) as anchors:
            assert await anchors.look("r") == 2
            assert await anchors.look("r") == 0
            clock.now += DAY_S
            server.script = scripted_against_the_student(server)
            assert await anchors.look("r") == 2
    first, _, second, _ = readings(store)
    assert (first.anchor, first.d, first.reference_d, first.label_d, first.drift) == ("refund", 0.0, None, -0.75, None)
    assert (second.anchor, second.d, second.reference_d) == ("refund", -0.75, 0.0)
    assert second.drift == -0.375


def scripted_against_the_student(server: JudgeServer) -> Any:
    """The judge has changed its mind: it reads both answers, and finds the teacher's perfect and the other worthless."""

    def script(body: dict[str, Any], _: int) -> Any:
        said = body["messages"][1]["content"]
        teachers_first = said.index("On its way." if "On its way." in said else "Hello.") < said.index("begin answer B")
        return verdict(4, 0) if teachers_first else verdict(0, 4)

    return script


async def test_a_judge_that_says_nothing_usable_has_a_reading_without_a_d_and_no_fallback_speaks_for_it(
    store: Store, scorer: Scorer
):
    with judge_server(UNUSABLE) as server:
        server.script = lambda body, _: UNUSABLE if body["model"] == "judge:claude" else verdict(4, 0)
        async with watch(store, scorer, server, fallback="other") as anchors:
            assert await anchors.look("r") == 2
    assert {(one.judge, one.failure, one.d, one.drift) for one in readings(store)} == {
        ("claude", "judge_unscorable", None, None)
    }


async def test_a_round_that_was_cut_off_goes_on_where_it_stopped(store: Store, scorer: Scorer):
    with judge_server(verdict(4, 4), verdict(4, 4), (503, b"{}")) as server:
        async with watch(store, scorer, server) as anchors:
            with pytest.raises(JudgeUnavailable):
                await anchors.look("r")
            assert [one.anchor for one in readings(store)] == ["refund"]
            server.script = lambda *_: verdict(4, 4)
            assert await anchors.look("r") == 1
    assert [one.anchor for one in readings(store)] == ["refund", "hello"]


async def test_what_is_read_for_a_route_is_read_for_its_parts(store: Store, scorer: Scorer):
    with judge_server(verdict(4, 4)) as server:
        async with watch(store, scorer, server, routes=("r:gold", "r")) as anchors:
            await watched(anchors, store)
    assert store.readings("r:gold", 0, 100) == []


async def test_a_fault_of_ours_is_counted_and_the_next_look_reads_what_is_due(store: Store, scorer: Scorer):
    class Faulty(Clock):
        """The first look at it ends in a fault."""

        faults = 1

        def __call__(self) -> float:
            if self.faults:
                self.faults -= 1
                raise ZeroDivisionError
            return super().__call__()

    with judge_server(verdict(4, 4)) as server:
        async with watch(store, scorer, server, Faulty(), look_every_s=0.01) as anchors:
            await watched(anchors, store)
            counted = anchors._metrics.registry.get_sample_value
            assert counted("tutelage_anchor_readings_total", {"route": "r", "failure": "crash"}) == 1.0


async def test_one_worker_reads_at_a_time(store: Store, scorer: Scorer):
    with judge_server(verdict(4, 4)) as server:
        assert store.acquire("anchors/r", "another", 60.0, CLOCK()) is not None
        async with watch(store, scorer, server) as anchors:
            assert await anchors.look("r") == 0
    assert server.requests == []


async def test_another_rubric_begins_with_first_readings_of_its_own(store: Store, scorer: Scorer):
    other = replace(scorer, rubric=scorer.rubric.model_copy(update={"version": 2}))
    with judge_server(verdict(4, 2)) as server:
        for which in (scorer, other):
            async with watch(store, which, server, holder=which.rubric.id) as anchors:
                store.release(store.acquire("anchors/r", "w", 1.0, CLOCK()) or pytest.fail("a lease is held"))
                assert await anchors.look("r") == 2
                CLOCK.now += 1_000.0
    assert {one.reference_d for one in readings(store)} == {None}


async def test_what_reading_costs_is_charged(store: Store, scorer: Scorer):
    with judge_server(verdict(4, 4)) as server:
        async with watch(store, scorer, server) as anchors:
            await anchors.look("r")
    assert store.spend("r", 0).nusd == sum(one.cost_nusd or 0 for one in readings(store)) > 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"d": 2}, "d of 'a' is 2"),
        ({"student": "x "}, "both answers of 'a' are the same"),
        ({"request": 3}, "must be a text or an object"),
        ({"id": ""}, "1 to 100 characters"),
        ({"label": "net"}, "line 1"),
        ({"teacher": None}, "line 1"),
    ],
)
def test_every_line_of_an_anchor_set_is_checked(tmp_path: Path, scorer: Scorer, line: dict[str, Any], message: str):
    given = {"id": "a", "request": "?", "teacher": "x", "student": "y"} | line
    (tmp_path / "anchors.jsonl").write_text(json.dumps(given) + "\n")
    with pytest.raises(ConfigurationError, match=message):
        anchors_of(tmp_path, scorer.rubric.model_copy(update={"anchor_set": "anchors.jsonl"}))


def test_an_anchor_set_is_read_in_its_order(tmp_path: Path, scorer: Scorer):
    lines = [json.dumps({"id": name, "request": "?", "teacher": "x", "student": "y", "d": -1}) for name in "ba"]
    (tmp_path / "anchors.jsonl").write_text("\n\n".join(lines))
    found = anchors_of(tmp_path, scorer.rubric.model_copy(update={"anchor_set": "anchors.jsonl"}))
    assert [(anchor.id, anchor.d) for anchor in found] == [("b", -1.0), ("a", -1.0)]
    assert anchors_of(tmp_path, scorer.rubric) == ()


def test_an_anchor_set_that_is_empty_or_gone_is_refused(tmp_path: Path, scorer: Scorer):
    rubric = scorer.rubric.model_copy(update={"anchor_set": "anchors.jsonl"})
    with pytest.raises(ConfigurationError, match="cannot read anchor set"):
        anchors_of(tmp_path, rubric)
    (tmp_path / "anchors.jsonl").write_text("\n")
    with pytest.raises(ConfigurationError, match="has 0 pairs"):
        anchors_of(tmp_path, rubric)
