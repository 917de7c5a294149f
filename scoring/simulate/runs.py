"""A thousand rollouts: the gate's own `decide`, the rollout's own `step`, wherever a look could matter.

Owns   the loop. Knows not  goals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from router.rollout import Phase, step
from scoring.gates.controller import decide
from scoring.gates.facts import ALL_WELL
from scoring.gates.streams import Wiring
from scoring.simulate.lanes import IntArray, Lanes
from scoring.simulate.plan import Plan, epoch_of, rollout_of
from scoring.simulate.story import Story
from scoring.stats.bets import FloatArray
from scoring.stats.laws import Law

BLOCK = 250


def run_all(
    plan: Plan, *, runs: int, seed: int, progress: Callable[[int], None] = lambda requests: None
) -> list[Story]:
    """`runs` rollouts of `plan`. A run ends with its roll-back: a person would open the next attempt.

    `progress` hears of every block of requests that is over.
    """
    epoch, begun = epoch_of(plan), rollout_of(plan)
    stories = [Story(rollout=begun) for _ in range(runs)]
    going = list(stories)
    laws = [law for law in (plan.law, plan.reverse, plan.after) if law is not None]
    levels = np.unique(np.concatenate([law.d_milli for law in laws]))
    lanes = Lanes([begun] * runs, epoch, plan.wiring, levels)
    draws = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(runs)]
    for start in range(0, plan.horizon, BLOCK):
        requests = min(BLOCK, plan.horizon - start)
        drawn = _drawn(plan, draws, levels, start, requests)
        for offset in range(requests):
            _tick(lanes, going, start + offset + 1, drawn.at(offset))
        progress(start + requests)
        alive = np.array([story.rolled_back_at is None for story in going])
        lanes.keep(alive)
        going = [story for story, stays in zip(going, alive, strict=True) if stays]
        draws = [rng for rng, stays in zip(draws, alive, strict=True) if stays]
        if not going:
            break
    return stories


@dataclass(frozen=True, slots=True, kw_only=True)
class _Requests:
    """The level if the teacher serves, the level if the student does, and the luck that decides; a row per rollout."""

    forward: IntArray
    backward: IntArray
    luck: FloatArray

    def at(self, offset: int) -> _Requests:
        """One request of each row."""
        return _Requests(forward=self.forward[:, offset], backward=self.backward[:, offset], luck=self.luck[:, offset])


def _drawn(plan: Plan, draws: list[np.random.Generator], levels: IntArray, start: int, requests: int) -> _Requests:
    """The next requests. Each row has its own generator."""
    uniform = np.stack([rng.random((2, requests)) for rng in draws])
    switch = requests if plan.after is None else min(max(plan.change_at - start, 0), requests)
    early, late = uniform[:, 0, :switch], uniform[:, 0, switch:]
    after = _levels(plan.after or plan.law, levels, late)
    forward = np.concatenate((_levels(plan.law, levels, early), after), axis=1)
    backward = forward
    if plan.reverse is not None:
        backward = np.concatenate((_levels(plan.reverse, levels, early), after), axis=1)
    return _Requests(forward=forward, backward=backward, luck=uniform[:, 1])


def _levels(law: Law, levels: IntArray, uniform: FloatArray) -> IntArray:
    own = np.searchsorted(np.cumsum(law.probability)[:-1], uniform, side="right")
    places: IntArray = np.searchsorted(levels, law.d_milli)[own]
    return places


def _tick(lanes: Lanes, going: list[Story], at: int, request: _Requests) -> None:
    """One request in every row, then every look that could matter."""
    if lanes.wiring is Wiring.UNDIRECTED:
        lanes.fold(request.forward, None)
    else:
        reverse = request.luck < lanes.share
        lanes.fold(np.where(reverse, request.backward, request.forward), reverse)
    for row in lanes.suspects(float(at)):
        story = going[row]
        if story.rolled_back_at is None:
            _look(lanes, int(row), story, at)


def _look(lanes: Lanes, row: int, story: Story, at: int) -> None:
    """Decide, step, look again, until nothing changes."""
    while story.rollout.phase is not Phase.ROLLED_BACK:
        rollout = story.rollout
        ruling = decide(lanes.state_of(row, rollout), rollout, lanes.epoch, ALL_WELL, float(at))
        if ruling.event is None:
            return
        after, _ = step(rollout, ruling.event)
        story.enter(ruling.event, after, at, int(lanes.counts[row].sum()))
        lanes.follow(row, rollout, after)
