"""Lanes tell the same stories as looking after every pair; what they cannot mirror they refuse."""

import numpy as np
import pytest

from router.types import Direction
from scoring.gates.streams import Wiring
from scoring.simulate.lanes import Lanes
from scoring.simulate.plan import Plan, epoch_of, rollout_of
from scoring.simulate.runs import run_all
from scoring.simulate.walk import walk
from scoring.stats.laws import rubric5
from tests.scoring.gates.made import epoch, rollout


@pytest.mark.parametrize(("mean", "weight"), [(0.0, 1.0), (-0.05, 1.0), (0.0, 0.2), (-0.05, 0.2)])
def test_a_run_is_the_walk_over_the_same_pairs(mean: float, weight: float):
    plan = Plan(law=rubric5(mean), horizon=1_000, weight=weight)
    [story] = run_all(plan, runs=1, seed=7)
    draw = np.random.default_rng(np.random.SeedSequence(7).spawn(1)[0])
    pairs = []
    for _ in range(4):
        uniform = draw.random((2, 250))[0]
        own = np.searchsorted(np.cumsum(plan.law.probability)[:-1], uniform, side="right")
        pairs += [(Direction.FORWARD, int(d)) for d in plan.law.d_milli[own]]
    walked, _ = walk(plan, pairs)
    assert (walked.reached, walked.holds, walked.step_downs) == (story.reached, story.holds, story.step_downs)
    assert walked.rolled_back_at == story.rolled_back_at


def test_an_epoch_with_more_cells_is_refused():
    with pytest.raises(ValueError, match="one pooled cell"):
        Lanes([rollout()], epoch(severe=0.05), Wiring.UNDIRECTED, np.array([0]))
    plan = Plan(law=rubric5(0.0))
    Lanes([rollout_of(plan)], epoch_of(plan), Wiring.UNDIRECTED, np.array([0]))
