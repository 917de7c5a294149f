"""What keeps the share where it is although every cell has passed."""

from typing import Any

import msgspec
import pytest

from router.events import Advance
from scoring.gates.controller import Ruling, decide, fold_all, initial, proven
from scoring.gates.facts import ALL_WELL
from tests.scoring.gates.made import epoch, rollout, unit


def looked_at(now: float, **declared: Any) -> Ruling:
    """A look at a student that has proven itself, in an epoch that declares so."""
    rules = msgspec.structs.replace(epoch(), **declared)
    state = fold_all(initial(rollout(), rules), [unit(n, 0.1) for n in range(300)], rollout(), rules)
    assert proven(state, rollout(), rules)
    return decide(state, rollout(), rules, ALL_WELL, now)


def test_what_has_proven_itself_rises():
    assert isinstance(looked_at(0.0, dwell_s=0.0).event, Advance)


@pytest.mark.parametrize(("now", "rises"), [(0.0, False), (86_399.0, False), (86_400.0, True)])
def test_nothing_rises_before_it_has_stood_through_its_dwell(now: float, rises: bool):
    """Evidence counts pairs, a day has hours: a student that is good by day alone has not shown its nights."""
    ruling = looked_at(now, dwell_s=86_400.0)
    assert isinstance(ruling.event, Advance) is rises
    assert ("s left of 86,400 s" in ruling.reason) is not rises


def test_where_a_person_approves_each_rung_evidence_alone_moves_nothing():
    ruling = looked_at(9e9, approval="required")
    assert ruling.event is None
    assert ruling.blockers == ("a person approves each rung: promote it by hand",)
