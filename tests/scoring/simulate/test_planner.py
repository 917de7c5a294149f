from dataclasses import replace

import numpy as np
import pytest

from scoring.gates.streams import Wiring
from scoring.simulate.plan import Plan
from scoring.simulate.planner import Outlook, band, forecast, odds
from scoring.simulate.runs import run_all
from scoring.stats.laws import tied

LADDER = (0, 100, 500, 1000, 2500, 5000, 9000)
OUTLOOK = Outlook(
    stages_bp=LADDER, margin=0.05, alpha=0.005, sigma0=0.27, units_per_day=10_000,
    teacher_usd=0.01, student_usd=0.001, judge_usd=0.02,
)  # fmt: skip


def test_the_one_percent_rung_of_ten_thousand_calls_sees_a_hundred_reverse_pairs_a_day():
    rung = forecast(OUTLOOK).rungs[1]
    assert (rung.share_bp, rung.reverse_per_day, rung.held_by) == (100, 100.0, "fresh key")
    assert 0.8 < rung.days < 1.6


def test_few_calls_make_low_rungs_unmeasurable_and_a_shorter_ladder_is_proposed():
    found = forecast(replace(OUTLOOK, units_per_day=300))
    assert found.refusals
    assert found.proposed_bp is not None
    assert set(found.proposed_bp) < set(LADDER)
    assert found.proposed_bp[0] == 0
    assert found.proposed_bp[-1] == 9000
    assert forecast(replace(OUTLOOK, units_per_day=300, stages_bp=found.proposed_bp)).refusals == ()


def test_a_gate_that_cannot_pass_at_its_own_size_is_refused_whatever_the_traffic():
    found = forecast(replace(OUTLOOK, margin=0.01, units_per_day=1e9))
    assert "fresh key" in found.refusals[0]
    assert found.proposed_bp is None


def test_what_is_not_known_costs_unknown_and_not_nothing():
    found = forecast(replace(OUTLOOK, judge_usd=None))
    assert found.usd is None
    assert found.rungs[0].judge_usd is None
    assert found.rungs[0].shadow_usd is not None


def test_dollars_are_those_of_the_pairs_that_are_bought():
    found = forecast(OUTLOOK)
    rung = found.rungs[3]
    assert rung.reverse_per_day == 500.0
    assert rung.reverse_shadow_usd == pytest.approx(500 * rung.days * 0.01)
    assert rung.judge_usd == pytest.approx((9_000 + 500) * rung.days * 0.02)
    parts = [(r.judge_usd or 0.0) + (r.shadow_usd or 0.0) + (r.reverse_shadow_usd or 0.0) for r in found.rungs]
    assert found.usd == pytest.approx(sum(parts))


def test_slices_later_attempts_and_noise_take_longer():
    plain = forecast(replace(OUTLOOK, units_per_day=1_000))
    assert forecast(replace(OUTLOOK, units_per_day=1_000, slices=(0.05,))).pairs > plain.pairs
    assert forecast(replace(OUTLOOK, units_per_day=1_000, attempt=5)).pairs > plain.pairs
    assert forecast(replace(OUTLOOK, units_per_day=1_000, sigma0=0.35)).days > plain.days


def test_a_rung_that_waits_for_evidence_is_forecast_as_a_band():
    rung = forecast(replace(OUTLOOK, units_per_day=100, stages_bp=(0, 9000))).rungs[0]
    assert rung.held_by == "evidence"
    low, high = band(rung)
    assert low < rung.days < high


def test_the_forecast_is_what_the_simulated_gate_needs():
    """Requests to the top of a short ladder, forecast and simulated through the gate, within a third of each other."""
    stages = (0, 2500, 9000)
    outlook = replace(OUTLOOK, stages_bp=stages, units_per_day=1_000, reverse_pairs_per_day=1e9, dwell_s=0.0)
    plan = Plan(law=tied(0.0, 0.27), horizon=6_000, wiring=Wiring.DIRECTED, stages_bp=stages, sigma0=0.27)
    stories = run_all(plan, runs=60, seed=3)
    arrived = [story.reached[2] for story in stories if 2 in story.reached]
    assert len(arrived) == 60
    assert forecast(outlook).days * 1_000 == pytest.approx(np.mean(arrived), rel=0.33)


def test_the_odds_fall_with_the_true_difference():
    chances = odds(replace(OUTLOOK, stages_bp=(0, 1000, 9000)), runs=20, pairs=2_500, seed=1)
    assert chances[0].reach == 1.0
    assert chances[-1].reach <= 0.1
    assert chances[-1].pairs is None or chances[-1].pairs > 0
