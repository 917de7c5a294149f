"""What a unit says beside d: each metric is the mean over its turns of one measure of a judged pair, up for the student.

Owns   the table of measures. Must not know margins, cells or detectors. What a judgement itself says is docs/RECORDS.md.
To add a measure: a line in `MEASURES`, its row under *Metrics of a unit* in docs/RECORDS.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from router.types import Arm
from scoring.evidence import DISAGREEMENT, FLOOR, ORDER, SEVERE, WORST_MILLI
from scoring.stats.lattice import LATTICE
from tutelage.contracts.pairs import Judgement
from tutelage.store.base import Scored

Measure = Callable[[Scored], float | None]

LENGTHS = ("completion_tokens", "characters")
"""What a length is read from: the first that both arms have."""
LENGTH_FACTOR = 2.0
FAULTS = ("error", "refusal", "invalid")
OF_THE_WHOLE = frozenset({SEVERE, FLOOR, DISAGREEMENT, ORDER})
"""What a conversation says only when it is over. The others need no judge: detectors read them of its first turn at once, too."""


def metrics_of(turns: Sequence[Scored]) -> dict[str, float]:
    """The metrics of a unit of these turns. One that no turn says anything of is left out."""
    found = {}
    for name, measure in MEASURES.items():
        said = [value for turn in turns if (value := measure(turn)) is not None]
        worst = WORST_MILLI.get(name)
        if said and worst is not None:
            said += [worst / LATTICE] * sum(turn.judgement.d is None for turn in turns)
        if said:
            found[name] = sum(said) / len(said)
    return found


def times_ms_of(turns: Sequence[Scored]) -> dict[str, tuple[float, ...]]:
    """Both arms' times, turn by turn. A turn that has none is left out."""
    found = {}
    for arm in Arm:
        for name in ("first_token", "total"):
            taken_ms = [_of(turn.judgement, f"{name}_ms", arm) for turn in turns]
            known = tuple(value for value in taken_ms if value is not None)
            if known:
                found[f"{arm.value}_{name}"] = known
    return found


def _of(judgement: Judgement, outcome: str, arm: Arm) -> float | None:
    both = judgement.outcomes.get(outcome)
    if both is None:
        return None
    return both.student if arm is Arm.STUDENT else both.teacher


def _both(turn: Scored, names: Iterable[str]) -> tuple[float, float] | None:
    """The teacher's and the student's outcome of the first name that both arms have."""
    for name in names:
        teacher, student = _of(turn.judgement, name, Arm.TEACHER), _of(turn.judgement, name, Arm.STUDENT)
        if teacher is not None and student is not None:
            return teacher, student
    return None


def _excess(name: str) -> Measure:
    """The teacher's fault less the student's."""

    def measure(turn: Scored) -> float | None:
        both = _both(turn, (name,))
        return None if both is None else both[0] - both[1]

    return measure


def _cost(turn: Scored) -> float | None:
    both = _both(turn, ("cost_nusd",))
    return None if both is None else -float(both[1] > both[0])


def _length(turn: Scored) -> float | None:
    both = _both(turn, LENGTHS)
    if both is None:
        return None
    teacher, student = both
    return -float(student > LENGTH_FACTOR * teacher or teacher > LENGTH_FACTOR * student)


MEASURES: Mapping[str, Measure] = {
    SEVERE: lambda turn: turn.judgement.severe,
    FLOOR: lambda turn: turn.judgement.student_score,
    DISAGREEMENT: lambda turn: turn.judgement.disagreement,
    **{name: _excess(name) for name in FAULTS},
    "cost": _cost,
    "length": _length,
    ORDER: lambda turn: turn.judgement.first_minus_second,
}
