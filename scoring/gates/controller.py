"""May the share move? The one gate, called by control's loop and by every simulation alike.

    state = initial(rollout, epoch)
    state = fold(state, unit, rollout, epoch)             for every unit, once
    ruling = decide(state, rollout, epoch, facts, now)    whenever one likes: looking is free
    ruling.event → `router.rollout.step`, committed by the shell

Owns   the order in which gates are asked and what follows from their verdicts: `decide`.
Knows not  clocks, stores, records of decisions: everything it reads is an argument, and the same arguments decide the
       same. The statistics are in `state`, the rules in one file each (`GATES`), the transitions in `router.rollout`.
To add a gate: one file beside this one, one line in `GATES` or, where the share may not rise without it, in `PROMOTION`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from router.events import Advance, Event, Hold, Release, RollBack, StepDown
from router.rollout import FUTILITY, OPERATOR, Phase, Rollout
from router.types import Mode
from scoring.gates import holds
from scoring.gates.accounts import mean_d
from scoring.gates.anchored import anchored
from scoring.gates.codec import decode, encode
from scoring.gates.facts import Facts
from scoring.gates.fresh import fresh
from scoring.gates.futility import futility
from scoring.gates.harm import roll_back, step_down, warm
from scoring.gates.numbers import cells, with_bounds
from scoring.gates.required import required
from scoring.gates.served import fold_servings
from scoring.gates.state import State, caught_up, fold, fold_all, fold_labels, initial
from scoring.gates.streams import Wiring
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View, look
from tutelage.contracts.decisions import CellNumbers, Epoch

__all__ = [
    "ACTOR", "GATES", "Facts", "Ruling", "State", "Wiring", "caught_up", "decide", "decode", "encode", "fold", "fold_all",
    "fold_labels", "fold_servings", "initial", "proven",
]  # fmt: skip

ACTOR = "controller"

GATES: dict[str, Callable[[View], Finding]] = {
    "back": roll_back,
    "down": step_down,
    "futility": futility,
    "missing": holds.missing,
    "hold": warm,
}
PROMOTION: tuple[Callable[[View], tuple[Finding, ...]], ...] = (required, lambda view: (fresh(view),), anchored)
"""What must have passed, beside dwell and approval, before a rung is left upwards."""

LAGGING_SHOWN = 3
"""Cells that a refusal names. `explain` has them all."""

_ON_LADDER = frozenset({Phase.SHADOW, Phase.RAMPING, Phase.HELD, Phase.COMPLETE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What follows from a look. `event` is None where nothing changes; `reason` says why, in words and numbers.

    `cells` is filled where there is an event, with lower bounds where the share moves (`explain` has them always);
    `blockers` where there is none: what keeps the share from rising.
    """

    event: Event | None
    reason: str
    detectors: dict[str, float]
    cells: tuple[CellNumbers, ...] = ()
    blockers: tuple[str, ...] = ()


def decide(state: State, rollout: Rollout, epoch: Epoch, facts: Facts, now: float) -> Ruling:
    """What should happen to `rollout` now. One event at most; after it, look again."""
    view = look(state, rollout, epoch, facts, now)
    if (why := at_rest(rollout)) is not None:
        return _stay(view, (why,))

    if _fails(back := roll_back(view)) and not facts.teacher_open:
        return _go(view, RollBack(at=now, actor=ACTOR, reason=_harm_in_words(view, back)))

    if _fails(down := step_down(view)) and rollout.rung > 0 and not facts.teacher_open:
        return _go(view, StepDown(at=now, actor=ACTOR, reason=_harm_in_words(view, down)))

    if FUTILITY not in rollout.holds and _fails(hopeless := futility(view)):
        return _go(view, Hold(at=now, actor=ACTOR, reason=hopeless.words, hold=FUTILITY))

    wanted = holds.wanted(view)
    for name, words in wanted.items():
        if name not in rollout.holds:
            return _go(view, Hold(at=now, actor=ACTOR, reason=words, hold=name))
    if (gone := holds.to_release(view, wanted)) is not None:
        return _go(view, Release(at=now, actor=ACTOR, reason=f"what {gone!r} was held for is over", hold=gone))

    findings = asked(view)
    if blockers := (*_lagging(findings), *_not_yet(view, wanted)):
        return _stay(view, blockers)
    return _go(view, Advance(at=now, actor=ACTOR, reason=_earned_in_words(view, findings)))


def proven(state: State, rollout: Rollout, epoch: Epoch) -> bool:
    """Whether every required cell has passed for the next rung and nothing but a pause holds: then a person who promotes
    waives nothing.
    """
    view = look(state, rollout, epoch, Facts(), 0.0)
    return (
        rollout.holds <= {OPERATOR}
        and rollout.rung < rollout.ladder.top
        and all(_passes(found) for found in asked(view))
    )


def asked(view: View) -> tuple[Finding, ...]:
    """What every gate answers that must pass before a rung is left upwards."""
    return tuple(finding for gate in PROMOTION for finding in gate(view))


# --- answers ----------------------------------------------------------------------------------------------------------


def _go(view: View, event: Event) -> Ruling:
    read = cells(view) if isinstance(event, Hold | Release) else with_bounds(view)
    return Ruling(event=event, reason=event.reason, detectors=view.detectors, cells=read)


def _stay(view: View, blockers: tuple[str, ...]) -> Ruling:
    return Ruling(event=None, reason="; ".join(blockers), detectors=view.detectors, blockers=blockers)


def _fails(finding: Finding) -> bool:
    return finding.verdict is Verdict.FAIL


def _passes(finding: Finding) -> bool:
    return finding.verdict is Verdict.PASS


# --- what keeps the share where it is ---------------------------------------------------------------------------------


def at_rest(rollout: Rollout) -> str | None:
    """Why evidence decides nothing here, or None where it does."""
    if rollout.mode is not Mode.GATED:
        return f"the route is {rollout.mode}: evidence moves nothing"
    if rollout.phase not in _ON_LADDER:
        return f"the rollout is {rollout.phase}: evidence moves nothing"
    return None


def _lagging(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """What has not passed, in words: three of them at most, then how many more."""
    words = [finding.words for finding in findings if not _passes(finding)]
    more = len(words) - LAGGING_SHOWN
    return (*words[:LAGGING_SHOWN], f"and {more} more cells") if more > 0 else tuple(words)


def _not_yet(view: View, wanted: dict[str, str]) -> tuple[str, ...]:
    """What blocks beside the statistics: the ladder's end, holds, a kill, dwell, a person's approval."""
    rollout, epoch = view.rollout, view.epoch
    blockers = [
        f"held ({name}): {wanted[name]}" if name in wanted else f"held ({name})" for name in sorted(rollout.holds)
    ]
    if rollout.rung == rollout.ladder.top:
        blockers.append("it stands on the last rung")
    if rollout.killed:
        blockers.append("it is killed")
    if view.facts.uncounted:
        blockers.append("older units than those counted wait to be counted")
    if (left_s := rollout.entered_at + epoch.dwell_s - view.now) > 0.0:
        blockers.append(f"dwell: {left_s:,.0f} s left of {epoch.dwell_s:,.0f} s")
    if epoch.approval != "none":
        blockers.append("a person approves each rung: promote it by hand")
    return tuple(blockers)


# --- reasons ----------------------------------------------------------------------------------------------------------


def _earned_in_words(view: View, findings: tuple[Finding, ...]) -> str:
    shares, rung = view.rollout.ladder.shares_bp, view.rollout.rung
    odds = f"a student worse than {-view.epoch.delta:+.3f} gets here with probability at most"
    risk = math.exp(-view.next_need)
    passed = "; ".join(finding.words for finding in findings)
    return f"{shares[rung] / 100:g} % to {shares[rung + 1] / 100:g} %: {passed}; {odds} {risk:.2g}"


def _harm_in_words(view: View, finding: Finding) -> str:
    fresh = view.state.fresh.evidence
    lately = mean_d(fresh)
    seen = "" if lately is None else f"; mean d {lately:+.3f} over the last {fresh.units} {fresh.cell.direction} pairs"
    return f"{finding.words}{seen}"
