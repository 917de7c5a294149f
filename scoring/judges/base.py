"""What a judge is: a model's opinion of both answers of one pair, asked once, blind.

Owns the seam between the worker and the judges, and the two ways in which a judge can fail. Must not know prompts, HTTP or
the queue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scoring.rubrics.schema import Rubric
from scoring.rubrics.scorer import Draft, Verdict
from tutelage.contracts.records import Usage


class JudgeUnavailable(Exception):
    """The judge could not be reached: connection, timeout, 429, 5xx, a wrong key. The pair is requeued; never -1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettled:
    """What the configuration says of a judge. `cost_nusd(usage, total_ms)` prices a call, None where unknown."""

    upstream: str
    version: str
    cost_nusd: Callable[[Usage | None, float], int | None]


class Judge(Protocol):
    """Scores pairs. `prompt_hash` covers all of the prompt that does not come from a pair."""

    async def judge(self, rubric: Rubric, draft: Draft) -> Verdict:
        """Either a verdict with a score in [0, 1] per judged criterion and arm, or one with `failure`
        "judge_unscorable". Raises JudgeUnavailable."""

    def prompt_hash(self, rubric: Rubric) -> str: ...
