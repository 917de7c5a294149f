"""The experiment: each input to both arms at once, then checks and judge, some inputs at a time.

Owns the order of the work and its bound. Must not know files, pages or keys.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.types import FULL_BP, Arm, Direction
from scoring.evaluation import Compared
from scoring.judges import JudgeUnavailable
from scoring.routes import RouteScoring
from tutelage.capture.asked import input_hash, user_texts
from tutelage.contracts.ids import uuid7
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.records import CapturePolicy
from tutelage.evaluation.arms import ENDPOINT, PURPOSE, Arms

AT_A_TIME = 8
JUDGE_UNAVAILABLE = "judge_unavailable"
_NOT_KEPT = CapturePolicy(log="off", train=False, purpose=PURPOSE)


async def compare(
    requests: Sequence[Mapping[str, Any]],
    arms: Arms,
    scoring: RouteScoring,
    *,
    route: str,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Compared]:
    """Every input through both arms, scored; in the order of the inputs. `progress` hears how many are done."""
    free, done = asyncio.Semaphore(AT_A_TIME), 0

    async def one(request: Mapping[str, Any]) -> Compared:
        nonlocal done
        async with free:
            found = await _compared(request, arms, scoring, route)
        done += 1
        progress(done)
        return found

    return list(await asyncio.gather(*(one(request) for request in requests)))


async def _compared(request: Mapping[str, Any], arms: Arms, scoring: RouteScoring, route: str) -> Compared:
    teacher, student = await asyncio.gather(arms.ask(Arm.TEACHER, request), arms.ask(Arm.STUDENT, request))
    now = time.time()
    name = uuid7(now)
    pair = Pair(
        id=name,
        route=route,
        epoch=PURPOSE,
        attempt_number=0,
        revision=0,
        direction=Direction.FORWARD,
        admitted_at=now,
        sticky_key=name,
        unit_id=name,
        endpoint=ENDPOINT,
        request=dict(request),
        input_hash=input_hash(user_texts(dict(request))),
        teacher=teacher,
        student=student,
        policy=_NOT_KEPT,
        shadow_bp=FULL_BP,
        floor_bp=FULL_BP,
        policy_version=0,
    )
    try:
        return Compared(pair=pair, judgement=await _judged(pair, scoring))
    except JudgeUnavailable:
        return Compared(pair=pair, judgement=None, unjudged=JUDGE_UNAVAILABLE)


async def _judged(pair: Pair, scoring: RouteScoring) -> Judgement:
    draft = scoring.scorer.draft(pair)
    if not draft.needs_judge:
        return scoring.scorer.finish(draft, time.time())
    if scoring.judge is None:
        raise JudgeUnavailable(f"rubric {scoring.scorer.rubric.id} needs a judge: set routes.{pair.route}.judge")
    return scoring.scorer.finish(draft, time.time(), await scoring.judge.judge(scoring.scorer.rubric, draft))
