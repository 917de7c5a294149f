"""`pairwise`: on each criterion, which answer is better, or neither. It sees finer differences than two scores do, and
says nothing of how good either answer is: there is no score of an arm's own, so no floor can be kept with it."""

from collections.abc import Mapping
from typing import Any

from scoring.judges.base import Unscorable
from scoring.judges.prompt import BLIND, DATA_ONLY, closed, judged_criteria
from scoring.judges.reply import named, reply_object
from scoring.rubrics.schema import Rubric
from scoring.rubrics.scorer import Said

VERDICTS: Mapping[str, float] = {"A": 1.0, "B": -1.0, "tie": 0.0}


class Pairwise:
    """A, B or a tie."""

    system = f"""{BLIND}
{DATA_ONLY}
Say for each criterion which answer is better: "A", "B", or "tie" where neither is. Length by itself is no merit. An answer \
that does not answer loses to one that does. Reply with one JSON object of the given schema and nothing else."""

    def criteria(self, rubric: Rubric) -> str:
        lines: list[str] = []
        for criterion in judged_criteria(rubric):
            note = " Compare with the reference." if criterion.reference == "label" else ""
            question = criterion.judge.question.strip() if criterion.judge is not None else ""
            lines.append(f"- {criterion.name}: {question}{note}")
        return "\n".join(lines)

    def schema(self, rubric: Rubric) -> dict[str, Any]:
        """A rationale, then a verdict per criterion."""
        verdicts = {criterion.name: {"type": "string", "enum": list(VERDICTS)} for criterion in judged_criteria(rubric)}
        return closed({"rationale": {"type": "string"}, "better": closed(verdicts)})

    def read(self, rubric: Rubric, text: str | None) -> tuple[Mapping[str, Said], str]:
        reply, rationale = reply_object(text, ("better",))
        better = reply["better"]
        named(better, tuple(criterion.name for criterion in judged_criteria(rubric)), "better")
        return {name: Said(d=_difference(name, said)) for name, said in better.items()}, rationale


def _difference(name: str, said: Any) -> float:
    if not isinstance(said, str) or said not in VERDICTS:
        raise Unscorable(f"the verdict on {name} is none of {', '.join(VERDICTS)}")
    return VERDICTS[said]
