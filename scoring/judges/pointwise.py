"""`pointwise`: one call holds both answers, blind, as A and B; each is scored on each criterion.

Owns the order of the answers, the second question, and the cost. Must not know the queue.

The order is drawn by a hash of the pair's id and the rubric's version, before any content is seen: half of all pairs show the
student first, and asking again shows the same order. A reply that cannot be used is asked for once more; then the pair is
unscorable. An infrastructure fault is never a verdict.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from scoring.judges.base import JudgeSettled, JudgeUnavailable
from scoring.judges.client import GatewayClient, Reply
from scoring.judges.prompt import Question, judged_criteria, messages, prompt_hash, reply_schema
from scoring.judges.reply import Unscorable, read_reply
from scoring.rubrics.answers import answer_of
from scoring.rubrics.schema import Rubric
from scoring.rubrics.scorer import JUDGE_UNSCORABLE, Draft, Said, Verdict

MAX_REPLY_TOKENS = 1024
MAX_RATIONALE_CHARACTERS = 2_000
QUESTIONS = 2
STUDENT_FIRST, TEACHER_FIRST = "student_first", "teacher_first"


class PointwiseJudge:
    """The judge at upstream `settled.upstream`. `observe(judge, outcome, seconds)` is told of every call."""

    def __init__(
        self,
        client: GatewayClient,
        settled: JudgeSettled,
        observe: Callable[[str, str, float], None],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._settled = settled
        self._observe = observe
        self._timer = timer

    def prompt_hash(self, rubric: Rubric) -> str:
        return prompt_hash(rubric)

    async def judge(self, rubric: Rubric, draft: Draft) -> Verdict:
        """Ask, and ask once more where the reply cannot be used. Raises JudgeUnavailable."""
        order = order_of(draft.pair.id, rubric.id)
        body = self._body(rubric, draft, order)
        spent: list[int | None] = []
        reason = ""
        for retries in range(QUESTIONS):
            try:
                reply = await self._call(body)
                spent.append(self._settled.cost_nusd(reply.usage, reply.total_ms))
                scores, rationale = read_reply(rubric, reply.text)
                return self._verdict(
                    rubric,
                    order,
                    scores={name: by_arm(order, *pair) for name, pair in scores.items()},
                    first_minus_second=_effect(rubric, scores),
                    rationale=rationale[:MAX_RATIONALE_CHARACTERS],
                    cost_nusd=_total(spent),
                    retries=retries,
                )
            except Unscorable as fault:
                reason = str(fault)
        return self._verdict(
            rubric, order, failure=JUDGE_UNSCORABLE, rationale=reason, cost_nusd=_total(spent), retries=QUESTIONS - 1
        )

    async def _call(self, body: dict[str, Any]) -> Reply:
        began, outcome = self._timer(), "answered"
        try:
            return await self._client.complete(body)
        except (JudgeUnavailable, Unscorable) as fault:
            outcome = "unavailable" if isinstance(fault, JudgeUnavailable) else "unscorable"
            raise
        finally:
            self._observe(self._settled.upstream, outcome, self._timer() - began)

    def _body(self, rubric: Rubric, draft: Draft, order: str) -> dict[str, Any]:
        teacher, student = answer_of(draft.pair.teacher), answer_of(draft.pair.student)
        first, second = (student, teacher) if order == STUDENT_FIRST else (teacher, student)
        question = Question(
            pair_id=draft.pair.id, request=draft.pair.request, reference=draft.reference, first=first, second=second
        )
        return {
            "model": f"judge:{self._settled.upstream}",
            "messages": messages(rubric, question),
            "temperature": 0,
            "max_completion_tokens": MAX_REPLY_TOKENS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": reply_schema(rubric)},
            },
        }

    def _verdict(self, rubric: Rubric, order: str, **said: Any) -> Verdict:
        return Verdict(
            **({"scores": {}} | said),
            judge=self._settled.upstream,
            judge_version=self._settled.version,
            prompt_hash=self.prompt_hash(rubric),
            orders=(order,),
        )


def order_of(pair_id: str, rubric: str) -> str:
    """Who is shown as A: a fair coin that only the pair's id and the rubric's version toss."""
    tossed = hashlib.sha256(f"order/{rubric}/{pair_id}".encode()).digest()[0]
    return STUDENT_FIRST if tossed & 1 else TEACHER_FIRST


def by_arm(order: str, first: float, second: float) -> Said:
    """The scores of A and B, by arm."""
    teacher, student = (second, first) if order == STUDENT_FIRST else (first, second)
    return Said(teacher=teacher, student=student, d=student - teacher)


def _effect(rubric: Rubric, scores: Mapping[str, tuple[float, float]]) -> float:
    """What the answer shown first has over the other, weighted."""
    return sum(c.weight * (scores[c.name][0] - scores[c.name][1]) for c in judged_criteria(rubric))


def _total(spent: list[int | None]) -> int | None:
    """Unknown where any call's cost is."""
    known = [cost for cost in spent if cost is not None]
    return sum(known) if spent and len(known) == len(spent) else None
