"""Guardrails where the unit is a conversation: how soon harm is seen that every turn tells, and harm that only later turns do.

A conversation begins every minute, has five turns a minute apart, and is over when it has been silent for half an hour:
thirty-five have begun by then. Guardrails have the parts of the false-alarm budget that they have by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from router.types import Direction, UnitOf
from scoring.gates.controller import fold_all, initial
from scoring.gates.harm import A_BACK, A_DOWN
from scoring.gates.latency import FROZEN_AT
from scoring.gates.state import State, detector_values
from scoring.simulate.figures.scale import Figures, Scale
from scoring.simulate.plan import Plan, epoch_of, rollout_of
from scoring.simulate.rows import Figure, mean_row, reported_mean, reported_quantile
from scoring.simulate.streams import generator
from scoring.stats import laws
from scoring.stats.bets import FloatArray
from tutelage.contracts.decisions import GateRules, Unit
from tutelage.contracts.routes import GuardrailSettings

TURNS, ICC = 5, 0.33
OVER_AFTER = 35
"""Conversations that begin before one is over."""
GOOD = 200
"""Conversations of a good student before it falls."""
MOST = 2_000
"""Conversations after which a run ends without an alarm."""

QUICK_MS, SLOW_MS = 1_000.0, 2_000.0
BoolArray = NDArray[np.bool_]

LEVELS = {"down": A_DOWN, "back": A_BACK}
GOALS = {"step-down": 105.0, "roll-back": 120.0}
"""Three times the time that one conversation takes to be over, and two hours."""

_PLAIN = Plan(law=laws.rubric5(0.0))
_GATES = GateRules(severe=_PLAIN.delta, guardrails=GuardrailSettings().model_dump())
_PLAN = replace(_PLAIN, gates=_GATES)
_EPOCH = structs.replace(epoch_of(_PLAN), unit=UnitOf.CONVERSATION.value)
_ROLLOUT = rollout_of(_PLAN)

Says = Callable[[BoolArray], dict[str, Any]]
"""What a unit says of whose turns some are harmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """The part of the turns that are harmed, `before` the fall and `after` it; of first turns `first` times as many."""

    says: Says
    before: float
    after: float
    first: float

    def harmed(self, drawn: FloatArray, share: float) -> BoolArray:
        """Which turns, each of which drew a number in [0, 1], are harmed where `share` are."""
        found: BoolArray = drawn < np.where(np.arange(len(drawn)) == 0, self.first * share, share)
        return found


def _errors(harmed: BoolArray) -> dict[str, Any]:
    return {"metrics": {"error": -float(harmed.mean())}}


def _times(harmed: BoolArray) -> dict[str, Any]:
    return {"times_ms": {"student_total": tuple(np.where(harmed, SLOW_MS, QUICK_MS).tolist())}}


FAILING = Fall(says=_errors, before=0.01, after=0.30, first=1.0)
SLOW_LATER = Fall(says=_times, before=0.03, after=0.60, first=0.0)


def delay(fall: Fall, readings: tuple[int, ...], scale: Scale) -> tuple[Figure, ...]:
    """Conversations begun since the fall until each alarm: with first turns read at once (1), as control does, or not (0)."""
    figures: list[Figure] = []
    for first_turns in readings:
        words = "" if first_turns else ", were first turns not read at once"
        rng = generator(scale.seed, f"conversations {fall.says.__name__}")
        found = np.array([_alarms(fall, first_turns, rng) for _ in range(max(20, scale.rollouts // 5))])
        for name, begun in zip(("step-down", "roll-back"), found.T, strict=True):
            mean = f"mean conversations to {name}{words}"
            figures.append(mean_row(mean, begun, GOALS[name]) if first_turns else reported_mean(mean, begun))
            figures.append(reported_quantile(f"p90 of conversations to {name}{words}", begun, 0.9))
    return tuple(figures)


def _alarms(fall: Fall, first_turns: int, rng: np.random.Generator) -> tuple[float, float]:
    """Conversations begun after the fall until step-down and roll-back; `MOST` where there was none."""
    state, open_ones, at = _with_limits(), list[Unit](), dict[str, float]()
    for number in range(-GOOD + 1, MOST + 1):
        harmed = fall.harmed(_turns(rng), fall.after if number > 0 else fall.before)
        open_ones.append(_unit(fall.says(harmed)))
        over = [open_ones.pop(0)] if len(open_ones) > OVER_AFTER else []
        state = fold_all(state, over, _ROLLOUT, _EPOCH, [_unit(fall.says(harmed[:1]))] * first_turns)
        values = detector_values(state, _EPOCH)
        reached = [name for name, level in LEVELS.items() if number > 0 and values[name] >= level]
        at |= {name: float(number) for name in reached if name not in at}
        if len(at) == len(LEVELS):
            break
    return at.get("down", float(MOST)), at.get("back", float(MOST))


def _turns(rng: np.random.Generator) -> FloatArray:
    """One number per turn, correlated by `ICC`: each repeats the conversation's own with probability √ICC."""
    return np.where(rng.random(TURNS) < math.sqrt(ICC), rng.random(), rng.random(TURNS))


def _with_limits() -> State:
    """The state in which the teacher's limits are set."""
    teachers = [_unit({"times_ms": {"teacher_total": (QUICK_MS,)}}, Direction.FORWARD)] * FROZEN_AT
    return fold_all(initial(_ROLLOUT, _EPOCH), teachers, _ROLLOUT, _EPOCH, teachers)


def _unit(said: dict[str, Any], direction: Direction = Direction.REVERSE) -> Unit:
    return Unit(
        id="", route="simulated", epoch=_EPOCH.id, direction=direction, revision=_ROLLOUT.revision, key="", d=0.0,
        first_at=0.0, last_at=0.0, **said,
    )  # fmt: skip


FIGURES: Figures = {
    "conversations of which three turns in ten fail": partial(delay, FAILING, (1, 0)),
    "conversations slow from the second turn on": partial(delay, SLOW_LATER, (1,)),
}
