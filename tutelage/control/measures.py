"""What a unit says beside d: each metric is the mean over its turns of one measure of a judgement, up for the student.

Owns   the table of measures. Must not know margins or cells. What a judgement itself says is docs/RECORDS.md.
To add a measure: a line in `MEASURES`, its row under *Metrics of a unit* in docs/RECORDS.md.
"""

from collections.abc import Callable, Mapping, Sequence

from scoring.evidence import DISAGREEMENT, FLOOR, SEVERE, WORST_MILLI
from scoring.stats.lattice import LATTICE
from tutelage.contracts.records import Judgement

MEASURES: Mapping[str, Callable[[Judgement], float | None]] = {
    SEVERE: lambda judgement: judgement.severe,
    FLOOR: lambda judgement: judgement.student_score,
    DISAGREEMENT: lambda judgement: judgement.disagreement,
}


def metrics_of(judgements: Sequence[Judgement]) -> dict[str, float]:
    """The metrics of a unit with these turns. One that no turn says anything of is left out."""
    means = {name: _mean(name, measure, judgements) for name, measure in MEASURES.items()}
    return {name: mean for name, mean in means.items() if mean is not None}


def _mean(name: str, measure: Callable[[Judgement], float | None], judgements: Sequence[Judgement]) -> float | None:
    """A turn that could not be scored counts as the worst among those that were."""
    said = [value for judgement in judgements if (value := measure(judgement)) is not None]
    if not said:
        return None
    unknown = sum(judgement.d is None for judgement in judgements)
    return (sum(said) + unknown * WORST_MILLI[name] / LATTICE) / (len(said) + unknown)
