"""The pairwise form: which answer is better, read strictly; a comparison says nothing of an arm alone."""

import json
from pathlib import Path

import pytest

from router.types import Arm
from scoring.judges import JUDGES
from scoring.judges.asking import STUDENT_FIRST, TEACHER_FIRST, orders_of
from scoring.judges.prompt import prompt_hash
from scoring.rubrics.scorer import Scorer, compile_rubric
from tests.scoring.judges.asked import judged
from tests.scoring.judges.server import Reply, completion, judge_server
from tests.scoring.pairs import failed, pair

pytestmark = pytest.mark.anyio
PAIRWISE = JUDGES["pairwise"]
STUDENTS_FIRST = next(n for n in range(100) if orders_of(pair(n).id, "compared@1", 0) == (STUDENT_FIRST,))
TEACHERS_FIRST = next(n for n in range(100) if orders_of(pair(n).id, "compared@1", 0) == (TEACHER_FIRST,))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def scorer(rubrics: Path) -> Scorer:
    return compile_rubric(rubrics, "compared@1")


def better(said: object) -> Reply:
    return completion(json.dumps({"rationale": "because", "better": {"helpful": said}}))


@pytest.mark.parametrize(
    ("number", "said", "d"),
    [
        (STUDENTS_FIRST, "A", 1.0),
        (STUDENTS_FIRST, "B", -1.0),
        (TEACHERS_FIRST, "A", -1.0),
        (TEACHERS_FIRST, "B", 1.0),
        (STUDENTS_FIRST, "tie", 0.0),
    ],
)
async def test_the_better_answer_wins_the_criterion(scorer: Scorer, number: int, said: str, d: float):
    with judge_server(better(said)) as server:
        judgement = await judged(scorer, server, pair(number, student="mail"))
    assert judgement.d == pytest.approx(0.75 * d)
    assert (judgement.scores[0].d, judgement.scores[0].student, judgement.student_score) == (d, None, None)
    assert judgement.prompt_hash == prompt_hash(scorer.rubric, PAIRWISE)


async def test_a_judge_that_always_prefers_the_first_answer_decides_nothing_in_both_orders(scorer: Scorer):
    with judge_server(better("A")) as server:
        judgement = await judged(scorer, server, pair(0, student="mail"), both_bp=10_000)
    assert judgement.d == 0.0
    assert judgement.first_minus_second == pytest.approx(0.75)
    first, second = (request["messages"][1]["content"] for request in server.requests)
    assert first.index("mail") > first.index("net") or second.index("mail") > second.index("net")


async def test_one_clear_order_and_one_tie_count_half(scorer: Scorer):
    with judge_server(better("B"), better("tie")) as server:
        judgement = await judged(scorer, server, pair(TEACHERS_FIRST, student="mail"), both_bp=10_000)
    assert judgement.d == pytest.approx(0.75 * 0.5)


async def test_the_schema_is_strict(scorer: Scorer):
    with judge_server(better("A")) as server:
        await judged(scorer, server, pair(0, student="mail"))
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["better"]["properties"] == {"helpful": {"type": "string", "enum": ["A", "B", "tie"]}}
    assert schema["properties"]["better"]["required"] == ["helpful"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("said", ["a", "Tie", "A ", "C", "", 1, True, None, ["A"], {"winner": "A"}, "A" * 100_000])
async def test_a_verdict_that_is_none_of_the_three_is_unscorable(scorer: Scorer, said: object):
    with judge_server(better(said)) as server:
        judgement = await judged(scorer, server, pair(0, student="mail"))
    assert (judgement.failure, judgement.d, judgement.student_score) == ("judge_unscorable", None, None)
    assert len(server.requests) == 2


@pytest.mark.parametrize("better", [{}, {"helpful": "A", "style": "A"}, "A", ["helpful"], None])
async def test_verdicts_on_other_criteria_are_unscorable(scorer: Scorer, better: object):
    with judge_server(completion(json.dumps({"rationale": "", "better": better}))) as server:
        judgement = await judged(scorer, server, pair(0, student="mail"))
    assert judgement.failure == "judge_unscorable"


def test_there_is_nothing_to_compare_with_a_failed_arm(scorer: Scorer):
    """The teacher counts as perfect, so the comparison is lost; nobody is paid to say so."""
    lost = scorer.draft(pair(0, teacher=failed(Arm.TEACHER), student="mail"))
    assert not lost.needs_judge
    judgement = scorer.finish(lost, 1.0)
    assert (judgement.failure, judgement.missing, judgement.d) == ("teacher_failed", "teacher_failed", -0.75)
    assert scorer.finish(scorer.draft(pair(0, student=failed(Arm.STUDENT))), 1.0).d == -1.0
