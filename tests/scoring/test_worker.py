"""The worker on the real store: every pair is scored once, whatever happens to workers, judges and pairs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from router.types import Arm
from scoring.judges.base import Identity, JudgeUnavailable
from scoring.judges.budget import Budget
from scoring.metrics import WorkerMetrics
from scoring.routes import RouteScoring
from scoring.rubrics.schema import Rubric
from scoring.rubrics.scorer import Draft, Said, Verdict, compile_rubric
from scoring.worker import MAX_DELIVERIES, Worker, backoff_s, main
from tests.scoring.judges.server import judge_server, verdict
from tests.scoring.pairs import ROUTE, attempt, failed, pair
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.records import Answer
from tutelage.store.base import Joined, Store
from tutelage.store.registry import open_store

pytestmark = pytest.mark.anyio
DEADLINE_S = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


class ScriptedJudge:
    """Gives every criterion the same scores, after the faults of its script."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.asked: list[str] = []

    def identity(self, rubric: Rubric) -> Identity:
        return Identity(upstream="claude", version="v9", prompt_hash="words")

    async def judge(self, rubric: Rubric, draft: Draft) -> Verdict:
        self.asked.append(draft.pair.id)
        if self.faults:
            raise self.faults.pop(0)
        return Verdict(scores={"helpful": Said(teacher=1.0, student=0.5, d=-0.5)}, judge="claude", cost_nusd=7)


class Clock:
    """A clock that jumps: what is requeued for later is due at the next look."""

    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        self.now += 1_000.0
        return self.now


def label_route(rubrics: Path) -> RouteScoring:
    return RouteScoring(scorer=compile_rubric(rubrics, "sections@1"))


def judged_route(rubrics: Path, judge: ScriptedJudge) -> RouteScoring:
    return RouteScoring(scorer=compile_rubric(rubrics, "judged@1"), judge=judge)


def worker_of(store: Store, route: RouteScoring, registry: CollectorRegistry | None = None) -> Worker:
    metrics = WorkerMetrics(registry)
    return Worker(store, {ROUTE: route}, name="w", metrics=metrics, clock=Clock(), idle_s=0.01, visible_s=1e9)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - the condition is in another thread's file
            await asyncio.sleep(0.005)


async def scored(store: Store, route: RouteScoring, *pairs: Pair) -> list[Judgement]:
    """Queue pairs, run a worker until none waits, return the judgements."""
    store.join(Joined(pairs=pairs))
    worker = worker_of(store, route)
    running = asyncio.create_task(worker.run())
    await until(lambda: store.depth(ROUTE).waiting == 0)
    worker.stop()
    await running
    found = [store.judgements(item.id) for item in pairs]
    assert all(len(judgements) == 1 for judgements in found)
    return [judgements[0] for judgements in found]


async def test_label_pairs_get_the_difference_of_their_scores(store: Store, rubrics: Path):
    judgements = await scored(
        store, label_route(rubrics), pair(0), pair(1, student="mail"), pair(2, teacher="mail"), pair(3, "a", "b")
    )
    assert [judgement.d for judgement in judgements] == [0.0, -1.0, 1.0, 0.0]
    assert {(j.rubric, j.method, j.failure) for j in judgements} == {("sections@1", "check", None)}


@pytest.mark.parametrize(
    ("given", "failure", "d"),
    [
        (pair(0, student=failed(Arm.STUDENT)), "student_failed", -1.0),
        (pair(0, teacher="mail", student=failed(Arm.STUDENT)), "student_failed", 0.0),
        (pair(0, student=failed(Arm.STUDENT, status=200, error=None, broke=True)), "student_failed", -1.0),
        (pair(0, teacher=failed(Arm.TEACHER)), "teacher_failed", 0.0),
        (pair(0, teacher=failed(Arm.TEACHER), student="mail"), "teacher_failed", -1.0),
        (pair(0, teacher=failed(Arm.TEACHER), student=failed(Arm.STUDENT)), "teacher_failed", -1.0),
        (pair(0, student=None), "student_lost", None),
        (pair(0, student=attempt(Arm.STUDENT, answer=None)), "student_lost", None),
        (pair(0, input_hash="f" * 64), "no_reference", None),
        (pair(0, input_hash=None), "no_reference", None),
        (pair(0, student=failed(Arm.STUDENT), input_hash=None), "no_reference", None),
    ],
)
async def test_every_failure_has_its_name_and_its_d(
    store: Store, rubrics: Path, given: Pair, failure: str, d: float | None
):
    (judgement,) = await scored(store, label_route(rubrics), given)
    assert (judgement.failure, judgement.d) == (failure, d)


async def test_judged_pairs_combine_judge_and_checks(store: Store, rubrics: Path):
    judge = ScriptedJudge()
    (judgement,) = await scored(store, judged_route(rubrics, judge), pair(0, student="mail"))
    assert judgement.d == pytest.approx(0.75 * -0.5)
    assert (judgement.method, judgement.judge, judgement.cost_nusd) == ("judge", "claude", 7)
    assert [(s.criterion, s.teacher, s.student) for s in judgement.scores] == [
        ("helpful", 1.0, 0.5),
        ("short", 1.0, 1.0),
    ]


@pytest.mark.parametrize(
    ("given", "d"),
    [
        (pair(0), 0.0),
        (pair(0, "cafe\u0301 ", "caf\u00e9"), 0.0),
        (pair(0, student=failed(Arm.STUDENT)), -1.0),
    ],
    ids=["equal", "equal once normalised", "failed student"],
)
async def test_the_judge_is_not_paid_for_ties_and_failed_students(store: Store, rubrics: Path, given: Pair, d: float):
    judge = ScriptedJudge()
    (judgement,) = await scored(store, judged_route(rubrics, judge), given)
    assert judgement.d == d
    assert judge.asked == []


async def test_a_failed_teacher_is_read_as_1_whatever_the_judge_says(store: Store, rubrics: Path):
    (judgement,) = await scored(store, judged_route(rubrics, ScriptedJudge()), pair(0, teacher=failed(Arm.TEACHER)))
    assert judgement.failure == "teacher_failed"
    assert judgement.d == pytest.approx(0.75 * -0.5)


async def test_an_unreachable_judge_never_costs_a_pair(store: Store, rubrics: Path):
    judge = ScriptedJudge(*[JudgeUnavailable("down")] * (3 * MAX_DELIVERIES))
    (judgement,) = await scored(store, judged_route(rubrics, judge), pair(0, student="mail"))
    assert judgement.failure is None
    assert judgement.d == pytest.approx(-0.375)
    assert len(judge.asked) == 3 * MAX_DELIVERIES + 1


async def test_a_crash_at_the_judge_is_tried_again_and_then_counted(store: Store, rubrics: Path):
    judge = ScriptedJudge(*[ZeroDivisionError()] * 100)
    with capture_logs() as logged:
        (judgement,) = await scored(store, judged_route(rubrics, judge), pair(0, student="mail"))
    assert (judgement.failure, judgement.d, judgement.retries) == ("worker_failed", None, MAX_DELIVERIES)
    assert [line["pair"] for line in logged if "crashed" in line["event"]] == ["pair-000000"] * MAX_DELIVERIES
    assert len(judge.asked) == MAX_DELIVERIES


async def test_a_pair_over_which_workers_died_is_given_up_unseen(store: Store, rubrics: Path):
    store.join(Joined(pairs=[pair(0)]))
    for delivery in range(MAX_DELIVERIES):
        assert store.claim("dead", 1, visible_after_s=1.0, now=10.0 * delivery)
    (judgement,) = await scored(store, label_route(rubrics), pair(0))
    assert judgement.failure == "worker_failed"


async def test_a_pair_of_an_unknown_route_is_left_for_others(store: Store, rubrics: Path):
    store.join(Joined(pairs=[pair(0, route="elsewhere"), pair(1)]))
    worker = worker_of(store, label_route(rubrics))
    running = asyncio.create_task(worker.run())
    await until(lambda: store.depth(ROUTE).waiting == 0)
    worker.stop()
    await running
    assert store.depth("elsewhere").waiting == 1


async def test_what_is_at_the_judge_when_the_worker_stops_is_given_back_at_once(
    store: Store, rubrics: Path, monkeypatch: pytest.MonkeyPatch
):
    class Hanging(ScriptedJudge):
        async def judge(self, rubric: Rubric, draft: Draft) -> Verdict:
            self.asked.append(draft.pair.id)
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("scoring.worker.STOP_S", 0.05)
    judge = Hanging()
    store.join(Joined(pairs=[pair(0, student="mail")]))
    worker = Worker(
        store, {ROUTE: judged_route(rubrics, judge)}, name="w", metrics=WorkerMetrics(), clock=lambda: 5_000.0
    )
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(judge.asked))
    worker.stop()
    await running
    assert [claim.pair.id for claim in store.claim("next", 10, 60.0, now=5_000.0)] == ["pair-000000"]


async def test_what_was_done_is_counted(store: Store, rubrics: Path):
    registry = CollectorRegistry()
    store.join(Joined(pairs=[pair(0), pair(1), pair(2, input_hash=None)]))
    worker = worker_of(store, label_route(rubrics), registry)
    running = asyncio.create_task(worker.run())
    await until(lambda: store.depth(ROUTE).waiting == 0)
    worker.stop()
    await running
    name = "tutelage_judgements_total"
    assert registry.get_sample_value(name, {"route": ROUTE, "method": "check", "failure": "none"}) == 2
    assert registry.get_sample_value(name, {"route": ROUTE, "method": "check", "failure": "no_reference"}) == 1


def test_back_off_doubles_up_to_five_minutes():
    assert [backoff_s(n) for n in (1, 2, 3, 8, 9, 1_000_000)] == [2.0, 4.0, 8.0, 256.0, 300.0, 300.0]


def test_checks_score_thousands_of_pairs_a_second(rubrics: Path):
    scorer = compile_rubric(rubrics, "sections@1")
    pairs = [pair(n, student=f"mail {n}") for n in range(2_000)]
    began = time.process_time()
    judgements = [scorer.finish(scorer.draft(item), 1.0) for item in pairs]
    assert time.process_time() - began < 1.0
    assert {judgement.d for judgement in judgements} == {-1.0}


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, rubrics: Path) -> Path:
    path = tmp_path / "tutelage.yaml"
    path.write_text(
        f"""
data_dir: {tmp_path}
rubrics: {rubrics}
store: {{url: "sqlite:///{tmp_path}/store.db"}}
gateway: {{metrics_port: 0}}
upstreams:
  t: {{kind: openai, base_url: "http://127.0.0.1:1/v1", model: t}}
  s: {{kind: vllm, base_url: "http://127.0.0.1:2/v1", model: s, trained_until: 2026-01-01}}
routes:
  {ROUTE}:
    {{teacher: t, student: s, rubric: sections@1, rollout: {{}}, capture: {{content: full, purpose: test}}}}
"""
    )
    return path


Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def start(config: Path) -> Iterator[Start]:
    """Starts worker processes; what still runs when the test ends is killed."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "scoring.worker", "--config", str(config)]
        processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def ended(process: subprocess.Popen[bytes], sign: int) -> int:
    os.kill(process.pid, sign)
    return process.wait(timeout=DEADLINE_S)


def test_sigterm_ends_the_worker_cleanly(store: Store, start: Start):
    store.join(Joined(pairs=[pair(n) for n in range(20)]))
    process = start()
    wait_for(lambda: store.depth(ROUTE).waiting == 0)
    assert ended(process, signal.SIGTERM) == 0


@pytest.mark.parametrize(
    "rounds", [pytest.param(4, id="short"), pytest.param(200, id="long", marks=pytest.mark.nightly)]
)
def test_kill_9_never_loses_or_doubles_a_score(store: Store, start: Start, rounds: int):
    """Claims of a killed worker come back after their time: the test lets it pass by making them visible itself."""
    count = 0
    waiting: list[Pair] = []
    for _ in range(rounds):
        fresh = [pair(n, student="mail") for n in range(count, count + 300)]
        count += len(fresh)
        process = start()
        before = store.depth(ROUTE).scored
        store.join(Joined(pairs=fresh))
        wait_for(lambda before=before: store.depth(ROUTE).scored > before)  # type: ignore[misc]  # bound at once
        ended(process, signal.SIGKILL)
        waiting = [item for item in (*waiting, *fresh) if not store.judgements(item.id)]
        for item in waiting:
            store.requeue(item.id, not_before=0.0)
    store.join(Joined(pairs=[pair(count, student="mail")]))
    count += 1
    process = start()
    wait_for(lambda: store.depth(ROUTE).waiting == 0)
    assert ended(process, signal.SIGTERM) == 0
    found = [store.judgements(f"pair-{n:06}") for n in range(count)]
    assert [len(judgements) for judgements in found] == [1] * count
    assert {(j.d, j.failure) for judgements in found for j in judgements} <= {(-1.0, None)}


def with_judge(config: Path, gateway: str) -> None:
    text = config.read_text().replace("sections@1,", "judged@1, judge: {upstream: j},")
    text = text.replace(
        "upstreams:\n", 'upstreams:\n  j: {kind: openai, base_url: "http://127.0.0.1:3/v1", model: j}\n'
    )
    config.write_text(text + f'internal: {{gateway_url: "{gateway}", key: "${{JUDGE_CALLS}}"}}\n')


def test_the_worker_asks_the_judge_through_the_gateway(
    store: Store, config: Path, start: Start, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JUDGE_CALLS", "tut-secret")
    store.join(Joined(pairs=[pair(n, student="mail") for n in range(40)]))
    with judge_server((503, b"{}"), verdict(4, 4)) as server:
        with_judge(config, server.url)
        process = start()
        wait_for(lambda: store.depth(ROUTE).waiting == 0)
        assert ended(process, signal.SIGTERM) == 0
    assert set(server.keys) == {"Bearer tut-secret"}
    orders = [store.judgements(f"pair-{n:06}")[0].orders for n in range(40)]
    assert len(server.requests) == 1 + sum(map(len, orders)), "one was refused by infrastructure, and asked again"
    assert {store.judgements(f"pair-{n:06}")[0].d for n in range(40)} == {0.0}


def test_judge_calls_without_a_key_refuse_to_start(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("JUDGE_CALLS", raising=False)
    with_judge(config, "http://127.0.0.1:4")
    assert main(["--config", str(config)]) == 2
    assert "export JUDGE_CALLS=" in capfd.readouterr().err


def test_a_configuration_that_cannot_be_used_ends_with_2(config: Path, capfd: pytest.CaptureFixture[str]):
    config.write_text(config.read_text().replace("sections@1", "gone@1"))
    assert main(["--config", str(config)]) == 2
    assert "gone@1.yaml" in capfd.readouterr().err


def test_an_answer_text_of_any_kind_keeps_the_scorer_total(rubrics: Path):
    scorer = compile_rubric(rubrics, "sections@1")
    for text in (None, "", ":", "\ud800", "x" * 1_000_000):
        answered = attempt(Arm.STUDENT, answer=Answer(text=text))
        assert scorer.finish(scorer.draft(pair(0, student=answered)), 1.0).d == -1.0


# --- the judge's budget -----------------------------------------------------------------------------------------------


def with_budget(rubrics: Path, judge: ScriptedJudge, cap_nusd: int) -> RouteScoring:
    return replace(judged_route(rubrics, judge), budget=Budget(cap_nusd=cap_nusd, assumed_nusd=7))


async def test_a_spent_budget_keeps_pairs_until_the_next_day_and_never_scores_them_unseen(store: Store, rubrics: Path):
    """Each call costs 7; with those in flight counted no third one is begun."""
    day_s, judge, metrics = 86_400.0, ScriptedJudge(), WorkerMetrics()
    now = [10.5 * day_s]
    route = with_budget(rubrics, judge, cap_nusd=20)
    store.join(Joined(pairs=[pair(n, student=f"mail {n}") for n in range(5)]))
    worker = Worker(store, {ROUTE: route}, name="w", metrics=metrics, clock=lambda: now[0], idle_s=0.01, visible_s=1e6)

    def given_back() -> float:
        reason = {"route": ROUTE, "reason": "budget"}
        return metrics.registry.get_sample_value("tutelage_pairs_requeued_total", reason) or 0.0

    running = asyncio.create_task(worker.run())
    await until(lambda: store.depth(ROUTE).scored + given_back() >= 5)
    assert not store.claim("looking", 5, 0.0, 11.0 * day_s - 1.0), "nobody gets them before midnight"
    assert given_back() <= 3, "none of them twice"
    assert store.depth(ROUTE).waiting == 5 - store.depth(ROUTE).scored >= 2
    assert store.spend(ROUTE, 10).nusd <= 21
    now[0] = 11.0 * day_s
    await until(lambda: store.depth(ROUTE).scored >= 4)
    worker.stop()
    await running
    judged = [item for n in range(5) for item in store.judgements(f"pair-{n:06}")]
    assert {item.failure for item in judged} == {None}


async def test_questions_that_came_to_nothing_are_charged(store: Store, rubrics: Path):
    judge = ScriptedJudge(JudgeUnavailable("the fallback is down", cost_nusd=14))
    await scored(store, judged_route(rubrics, judge), pair(0, student="mail"))
    days = range(20)
    assert sum(store.spend(ROUTE, day).nusd for day in days) == 14 + 7
    assert sum(store.spend(ROUTE, day).calls for day in days) == 2
