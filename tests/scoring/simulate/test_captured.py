from dataclasses import replace

import msgspec
import numpy as np
import pytest

from router.types import Direction
from scoring.gates.streams import Wiring
from scoring.simulate.captured import captured, units_of
from scoring.simulate.plan import Plan
from scoring.simulate.runs import run_all
from scoring.stats import laws
from scoring.stats.laws import Law
from tests.tutelage.store.made import judgement, pair
from tutelage.contracts.errors import ConfigurationError
from tutelage.store.base import Joined
from tutelage.store.registry import open_store


def test_turns_of_a_unit_are_one_observation_and_a_missing_score_is_the_worst():
    turns = [
        (pair("a", 1.0, unit_id="u1"), [judgement("a", d=0.5)]),
        (pair("b", 2.0, unit_id="u2", direction=Direction.REVERSE), [judgement("b", d=0.25)]),
        (pair("c", 3.0, unit_id="u1"), [msgspec.structs.replace(judgement("c"), d=None, failure="judge_unscorable")]),
        (pair("d", 4.0, unit_id="u3"), [msgspec.structs.replace(judgement("d"), d=None, failure="no_reference")]),
        (pair("e", 5.0, unit_id="u4"), []),
        (pair("f", 6.0, unit_id="u5", excluded="versions_differ"), [judgement("f", d=1.0)]),
    ]
    assert units_of(turns) == ((Direction.FORWARD, -250), (Direction.REVERSE, 250))


def test_a_stores_pairs_become_a_law_per_direction(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    d = np.random.default_rng(1).choice([-0.5, 0.0, 0.25], 700).tolist()
    store.join(Joined(pairs=[pair(f"p{n}", 1.0 + n) for n in range(700)]))
    store.judged([judgement(f"p{n}", d=value) for n, value in enumerate(d)])
    found = captured(store, "triage", 600)
    store.close()
    assert [value for _, value in found.units] == [round(1000 * value) for value in d[100:]]
    law = found.law(Direction.FORWARD)
    assert law is not None
    assert law.mean == pytest.approx(np.mean(d[100:]))
    assert found.law(Direction.REVERSE) is None


def test_too_few_units_are_no_law(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    store.join(Joined(pairs=[pair("p", 1.0)]))
    store.judged([judgement("p")])
    with pytest.raises(ConfigurationError, match="fewer than 30"):
        captured(store, "triage", 600)
    store.close()


def test_a_student_that_fails_only_where_it_leads_is_found_by_its_reverse_pairs():
    """Equal on what the teacher serves, −.30 on what it serves itself: the forward law alone would promote it."""
    bad = Law(name="bad", d_milli=np.array([-300]), probability=np.array([1.0]))
    plan = Plan(
        law=laws.rubric5(0.0),
        reverse=bad,
        horizon=6_000,
        wiring=Wiring.DIRECTED,
        stages_bp=(0, 2_500, 9_000),
        sigma0=0.27,
    )
    assert not any(2 in story.reached for story in run_all(plan, runs=20, seed=1))
    assert all(2 in story.reached for story in run_all(replace(plan, reverse=None), runs=5, seed=1))
