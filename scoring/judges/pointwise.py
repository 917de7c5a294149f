"""`pointwise`: each answer is scored on each criterion by itself, on the criterion's scale."""

from collections.abc import Mapping
from typing import Any

from scoring.judges.base import Unscorable
from scoring.judges.prompt import BLIND, DATA_ONLY, closed, judged_criteria
from scoring.judges.reply import named, reply_object
from scoring.rubrics.schema import Criterion, JudgeSpec, Rubric
from scoring.rubrics.scorer import Said


class Pointwise:
    """Scores of A and of B."""

    system = f"""{BLIND}
{DATA_ONLY}
Score each answer on each criterion by itself, with a whole number from 0 to the criterion's highest score. An answer that \
does not answer scores 0. Reply with one JSON object of the given schema and nothing else."""

    def criteria(self, rubric: Rubric) -> str:
        lines: list[str] = []
        for criterion, spec in _judged(rubric):
            note = " Compare with the reference." if criterion.reference == "label" else ""
            lines.append(f"- {criterion.name} (0 to {spec.scale}): {spec.question.strip()}{note}")
            for score, anchor in sorted(spec.anchors.items()):
                example = f" For example: {anchor.example.strip()}" if anchor.example is not None else ""
                lines.append(f"    {score} = {anchor.means.strip()}{example}")
        return "\n".join(lines)

    def schema(self, rubric: Rubric) -> dict[str, Any]:
        """A rationale, then a whole number per answer and criterion."""
        scores = closed(
            {
                criterion.name: {"type": "integer", "enum": list(range(spec.scale + 1))}
                for criterion, spec in _judged(rubric)
            }
        )
        return closed({"rationale": {"type": "string"}, "a": scores, "b": scores})

    def read(self, rubric: Rubric, text: str | None) -> tuple[Mapping[str, Said], str]:
        reply, rationale = reply_object(text, ("a", "b"))
        names = tuple(criterion.name for criterion in judged_criteria(rubric))
        for answer in ("a", "b"):
            named(reply[answer], names, f"answer {answer}")
        said: dict[str, Said] = {}
        for criterion, spec in _judged(rubric):
            first, second = (_score(criterion, spec, reply[answer][criterion.name]) for answer in ("a", "b"))
            said[criterion.name] = Said(d=first - second, student=first, teacher=second)
        return said, rationale


def _judged(rubric: Rubric) -> list[tuple[Criterion, JudgeSpec]]:
    return [(criterion, criterion.judge) for criterion in rubric.criteria if criterion.judge is not None]


def _score(criterion: Criterion, spec: JudgeSpec, value: Any) -> float:
    if type(value) is not int or not 0 <= value <= spec.scale:
        raise Unscorable(f"the score of {criterion.name} is not a whole number from 0 to {spec.scale}")
    return value / spec.scale
