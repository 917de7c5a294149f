"""The scenarios: what a run of the demo shows. Data only; `run.py` plays them.

To add one: one entry in SCENARIOS and, where it ends otherwise, one Ending.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tutelage.demo.recording import GOOD, WEAK


class Ending(StrEnum):
    """What a scenario is expected to come to."""

    TOP = "the student reached the last rung"
    REFUSED = "the student was refused: it never got a request"
    ROLLED_BACK = "the student was stepped down and rolled back to shadow"
    OPEN = "whatever the evidence says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Which recorded student serves, at which share it degrades silently (None: never), how it should end, and the bound
    in seconds on the run."""

    name: str
    says: str
    student: str
    ending: Ending
    degrades_at_bp: int | None = None
    limit_s: float = 280.0


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="climb",
            says="A good student earns its traffic, rung by rung.",
            student=GOOD,
            ending=Ending.TOP,
        ),
        Scenario(
            name="regression",
            says="A good student climbs to 50 %; then its answers get worse behind an unchanged version.",
            student=GOOD,
            ending=Ending.ROLLED_BACK,
            degrades_at_bp=5_000,
        ),
        Scenario(
            name="weak",
            says="A student that trained for a minute asks for traffic.",
            student=WEAK,
            ending=Ending.REFUSED,
        ),
    )
}


def ended_as(ending: Ending, phases: Sequence[str], shares_bp: Sequence[int], events: Sequence[str]) -> bool:
    """Whether a run came to `ending`: its phases and shares over time, and the events of its decisions.

    A good student is stepped down by chance now and then, and climbs again: in one run of some hundreds just after it reached the
    top. That is no other ending; a roll-back is.
    """
    if not phases:
        return False
    if ending is Ending.TOP:
        return "COMPLETE" in phases and "RollBack" not in events
    if ending is Ending.REFUSED:
        return max(shares_bp) == 0 and ("RollBack" in events or "Hold" in events)
    if ending is Ending.ROLLED_BACK:
        return phases[-1] == "ROLLED_BACK" and max(shares_bp) > 0 and "StepDown" in events
    return True
