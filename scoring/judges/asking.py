"""Asking: one call holds both answers, blind, as A and B, in the rubric's form; the fallback judge has the last word.

Owns the orders, the second question, the fallback and the cost. Must not know how a form words or reads (`pointwise`,
`pairwise`), nor the queue.

Everything about order is drawn by a hash of the pair's id and the rubric's version, before any content is seen: half of all
pairs show the student first, a share of them is asked in both orders and counts with the mean of both, and asking again
draws the same. A reply that cannot be used is asked for once more, then the fallback judge is asked everything anew; a pair
that neither judged is unscorable. An infrastructure fault is never a verdict, whoever's it is.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.split import sampled
from scoring.judges.base import Form, Identity, JudgeSettled, JudgeUnavailable, Unscorable
from scoring.judges.client import GatewayClient, Reply
from scoring.judges.prompt import Question, judged_criteria, messages, prompt_hash
from scoring.rubrics.answers import answer_of
from scoring.rubrics.schema import Rubric
from scoring.rubrics.scorer import JUDGE_UNSCORABLE, Draft, Said, Verdict

MAX_REPLY_TOKENS = 1024
MAX_RATIONALE_CHARACTERS = 2_000
QUESTIONS = 2
STUDENT_FIRST, TEACHER_FIRST = "student_first", "teacher_first"

Observe = Callable[[str, str, float], None]
"""Is told of every call: the judge, the outcome, the seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A usable reply in one order, as if the answer shown first were the student's."""

    order: str
    said: Mapping[str, Said]
    rationale: str


class Asker:
    """Asks `judge` in the rubric's form, then `fallback` where that gave nothing usable; `both_bp` of pairs in both orders."""

    def __init__(
        self,
        client: GatewayClient,
        forms: Mapping[str, Form],
        judge: JudgeSettled,
        fallback: JudgeSettled | None,
        *,
        both_bp: int,
        observe: Observe,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._forms = forms
        self._judges = (judge,) if fallback is None else (judge, fallback)
        self._both_bp = both_bp
        self._observe = observe
        self._timer = timer

    def identity(self, rubric: Rubric) -> Identity:
        """The judge itself, without the fallback."""
        words = prompt_hash(rubric, self._forms[rubric.judging])
        return Identity(upstream=self._judges[0].upstream, version=self._judges[0].version, prompt_hash=words)

    async def judge(self, rubric: Rubric, draft: Draft) -> Verdict:
        """Either a verdict on each judged criterion, or one with `failure`. Raises JudgeUnavailable."""
        asked: list[int | None] = []
        reason = ""
        for settled in self._judges:
            heard: list[Heard] = []
            try:
                for order in orders_of(draft.pair.id, rubric.id, self._both_bp):
                    heard.append(await self._hear(settled, rubric, draft, order, asked))
                return self._verdict(settled, rubric, heard, asked)
            except Unscorable as fault:
                reason = str(fault)
            except JudgeUnavailable as fault:
                raise JudgeUnavailable(str(fault), total(asked)) from fault
        return Verdict(
            scores={},
            failure=JUDGE_UNSCORABLE,
            judge=self._judges[-1].upstream,
            judge_version=self._judges[-1].version,
            prompt_hash=prompt_hash(rubric, self._forms[rubric.judging]),
            orders=orders_of(draft.pair.id, rubric.id, self._both_bp),
            rationale=reason,
            cost_nusd=total(asked),
            retries=len(asked) - 1,
        )

    async def _hear(
        self, settled: JudgeSettled, rubric: Rubric, draft: Draft, order: str, asked: list[int | None]
    ) -> Heard:
        """One order: asked, and asked once more where the reply cannot be used. Appends each question's cost."""
        form = self._forms[rubric.judging]
        body = _body(settled, form, rubric, draft, order)
        for question in range(QUESTIONS):
            try:
                said, rationale = form.read(rubric, await self._text(settled, body, asked))
                return Heard(order=order, said=said, rationale=rationale)
            except Unscorable:
                if question == QUESTIONS - 1:
                    raise
        raise AssertionError("unreachable")  # pragma: no cover - the last question returns or raises

    async def _text(self, settled: JudgeSettled, body: dict[str, Any], asked: list[int | None]) -> str | None:
        began, outcome = self._timer(), "answered"
        reply: Reply | None = None
        try:
            reply = await self._client.complete(body)
            if reply.fault is not None:
                outcome = "unscorable"
                raise Unscorable(reply.fault)
            return reply.text
        except JudgeUnavailable:
            outcome = "unavailable"
            raise
        finally:
            if reply is not None:
                asked.append(settled.cost_nusd(reply.usage, reply.total_ms))
            self._observe(settled.upstream, outcome, self._timer() - began)

    def _verdict(
        self, settled: JudgeSettled, rubric: Rubric, heard: Sequence[Heard], asked: Sequence[int | None]
    ) -> Verdict:
        return Verdict(
            scores={
                c.name: mean([by_arm(one.order, one.said[c.name]) for one in heard]) for c in judged_criteria(rubric)
            },
            judge=settled.upstream,
            judge_version=settled.version,
            prompt_hash=prompt_hash(rubric, self._forms[rubric.judging]),
            orders=tuple(one.order for one in heard),
            first_minus_second=sum(_effect(rubric, one.said) for one in heard) / len(heard),
            rationale="\n\n".join(one.rationale for one in heard)[:MAX_RATIONALE_CHARACTERS],
            cost_nusd=total(asked),
            retries=len(asked) - len(heard),
        )


def orders_of(pair_id: str, rubric: str, both_bp: int) -> tuple[str, ...]:
    """In which orders a pair is shown: a fair coin, and a share in both, that only the id and the rubric's version draw."""
    tossed = hashlib.sha256(f"order/{rubric}/{pair_id}".encode()).digest()[0]
    first, second = (STUDENT_FIRST, TEACHER_FIRST) if tossed & 1 else (TEACHER_FIRST, STUDENT_FIRST)
    return (first, second) if sampled(f"both/{rubric}", pair_id, "", both_bp) else (first,)


def by_arm(order: str, said: Said) -> Said:
    """What was said of A and B, by arm."""
    return said if order == STUDENT_FIRST else Said(d=-said.d, teacher=said.student, student=said.teacher)


def mean(said: Sequence[Said]) -> Said:
    """The mean over orders; without scores where one of them has none."""
    return Said(
        d=sum(one.d for one in said) / len(said),
        teacher=_mean([one.teacher for one in said]),
        student=_mean([one.student for one in said]),
    )


def total(spent: Sequence[int | None]) -> int | None:
    """The sum; unknown where any part is."""
    known = [cost for cost in spent if cost is not None]
    return sum(known) if len(known) == len(spent) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _effect(rubric: Rubric, said: Mapping[str, Said]) -> float:
    """What the answer shown first has over the other, weighted."""
    return sum(criterion.weight * said[criterion.name].d for criterion in judged_criteria(rubric))


def _body(settled: JudgeSettled, form: Form, rubric: Rubric, draft: Draft, order: str) -> dict[str, Any]:
    teacher, student = answer_of(draft.pair.teacher), answer_of(draft.pair.student)
    first, second = (student, teacher) if order == STUDENT_FIRST else (teacher, student)
    question = Question(
        pair_id=draft.pair.id, request=draft.pair.request, reference=draft.reference, first=first, second=second
    )
    return {
        "model": f"judge:{settled.upstream}",
        "messages": messages(rubric, form, question),
        "temperature": 0,
        "max_completion_tokens": MAX_REPLY_TOKENS,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": form.schema(rubric)},
        },
    }
