"""Gate: what freezes promotion although nothing is known against the student, and why.

Owns   the table of automatic holds, in the order in which they are reported; the missing rate.
Each line gives the words of its reason, or None. They come and go with what they name; `operator`, `futility` and
`epoch` are not here: people and epochs lift those.
"""

from __future__ import annotations

from collections.abc import Callable

from router.rollout import EPOCH, FUTILITY, OPERATOR, TEACHER
from router.types import Direction
from scoring.gates.harm import DETECTOR, warm
from scoring.gates.required import earns_its_rung
from scoring.gates.tally import Tally
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View
from scoring.stats.rates import lower_rate

MISSING_RATE = 0.005
MISSING_ALPHA = 0.05


def wanted(view: View) -> dict[str, str]:
    """Every hold that should stand now, with its reason, most urgent first."""
    said = ((name, reason(view)) for name, reason in REASONS)
    return {name: words for name, words in said if words is not None}


def to_release(view: View, standing: dict[str, str]) -> str | None:
    """One automatic hold whose reason has gone, or None. `standing`: what `wanted` says."""
    for name in sorted(view.rollout.holds - {OPERATOR, FUTILITY}):
        if name not in standing and (name != EPOCH or earns_its_rung(view)):
            return name
    return None


def missing(view: View) -> Finding:
    """ERROR when the lower limit of the rate of pairs without a score exceeds 0.5 % in a direction; the worse one's."""
    return max((_missing_in(view, direction) for direction in Direction), key=lambda found: found.value)


def _missing_in(view: View, direction: Direction) -> Finding:
    """Lost and counted are turns of one population: one direction's, judged, since the evidence began."""
    tally = view.state.tallies.get(direction.value, Tally())
    lost = sum(view.facts.missing.get(direction, {}).values())
    hits, trials = tally.unscored + lost, tally.turns + lost
    limit = lower_rate(hits, trials, alpha=MISSING_ALPHA / len(Direction)) if hits > MISSING_RATE * trials else 0.0
    return Finding(
        gate="missing",
        verdict=Verdict.ERROR if limit > MISSING_RATE else Verdict.PASS,
        value=100.0 * limit,
        need=100.0 * MISSING_RATE,
        n=hits,
        template=f"{{n}} of {trials} {direction} pairs have no score: at least {{value:.1f}} %, allowed {{need:.1f}} %",
    )


def _teacher(view: View) -> str | None:
    return "the teacher's breaker is open" if view.facts.teacher_open else None


def _judge(view: View) -> str | None:
    late = view.facts.judge_late_s
    return view.facts.judge_drift if late <= 0.0 else f"scores are {late:,.0f} s over their deadline"


def _missing(view: View) -> str | None:
    found = missing(view)
    return None if found.verdict is Verdict.PASS else found.words


def _detector(view: View) -> str | None:
    found = warm(view)
    return None if found.verdict is Verdict.PASS else found.words


REASONS: tuple[tuple[str, Callable[[View], str | None]], ...] = (
    (TEACHER, _teacher),
    ("capture", lambda view: view.facts.capture_lossy),
    ("judge", _judge),
    ("ratio", lambda view: view.facts.sample_ratio),
    ("missing", _missing),
    (DETECTOR, _detector),
)
