"""What a judge is: a model's opinion of both answers of one pair, asked blind.

Owns the seams: between the worker and the judges, between asking and the form of a question, and the two ways in which a
judge can fail. Must not know prompts, HTTP or the queue.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from scoring.rubrics.schema import Rubric
from scoring.rubrics.scorer import Draft, Said, Verdict
from tutelage.contracts.records import Usage


class JudgeUnavailable(Exception):
    """The judge could not be reached: connection, timeout, 429, 5xx, a wrong key. The pair is requeued; never -1.

    `cost_nusd` is what the questions before it have cost, None where that is unknown.
    """

    def __init__(self, reason: str, cost_nusd: int | None = 0) -> None:
        super().__init__(reason)
        self.cost_nusd = cost_nusd


class Unscorable(Exception):
    """The judge has seen the answers and given no usable verdict. The message says what was wrong, without content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettled:
    """What the configuration says of a judge. `cost_nusd(usage, total_ms)` prices a call, None where unknown."""

    upstream: str
    version: str
    cost_nusd: Callable[[Usage | None, float], int | None]


class Form(Protocol):
    """How a question is put and its reply read. Pure. A reply speaks of A and B, not of arms: `Said` as if A were the
    student's."""

    @property
    def system(self) -> str:
        """The instructions."""

    def criteria(self, rubric: Rubric) -> str:
        """What is asked of each criterion."""

    def schema(self, rubric: Rubric) -> dict[str, Any]:
        """The strict JSON schema of a reply."""

    def read(self, rubric: Rubric, text: str | None) -> tuple[Mapping[str, Said], str]:
        """What was said on each criterion, and the rationale. Raises Unscorable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who judges by which words: what an epoch declares and anchors are compared inside."""

    upstream: str
    version: str
    prompt_hash: str


class Judge(Protocol):
    """Judges pairs."""

    def identity(self, rubric: Rubric) -> Identity:
        """The judge itself, whoever stands in for it."""

    async def judge(self, rubric: Rubric, draft: Draft) -> Verdict:
        """Either a verdict on each judged criterion, or one with `failure` "judge_unscorable". Raises
        JudgeUnavailable."""
