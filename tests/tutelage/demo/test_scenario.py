"""What counts as the expected end of a scenario: each ending holds for its own story and for no other."""

import pytest

from tutelage.demo.scenario import SCENARIOS, Ending, ended_as

Story = tuple[list[str], list[int], list[str]]

STORIES: dict[Ending, Story] = {
    Ending.TOP: (["SHADOW", "RAMPING", "COMPLETE"], [0, 500, 9000], ["Begin", "Advance", "Advance"]),
    Ending.REFUSED: (["SHADOW", "HELD"], [0, 0], ["Begin", "Hold"]),
    Ending.ROLLED_BACK: (["RAMPING", "RAMPING", "ROLLED_BACK"], [5000, 2500, 0], ["Advance", "StepDown", "RollBack"]),
}


@pytest.mark.parametrize("ending", STORIES)
@pytest.mark.parametrize("told", STORIES)
def test_an_ending_is_met_by_its_own_story_only(ending: Ending, told: Ending):
    assert ended_as(ending, *STORIES[told]) is (ending is told)


def test_a_run_without_a_reading_meets_nothing():
    assert not any(ended_as(ending, [], [], []) for ending in Ending)


def test_a_student_that_reached_the_top_and_fell_has_not_ended_there():
    assert not ended_as(Ending.TOP, ["COMPLETE", "ROLLED_BACK"], [9000, 0], ["Advance", "StepDown", "RollBack"])


def test_a_student_that_was_stepped_down_from_the_top_has_been_there():
    assert ended_as(Ending.TOP, ["COMPLETE", "RAMPING"], [9000, 5000], ["Advance", "StepDown"])


def test_a_student_that_was_never_looked_at_was_not_refused():
    assert not ended_as(Ending.REFUSED, ["SHADOW"], [0], ["Begin"])


def test_every_scenario_ends_somewhere_in_time():
    assert set(SCENARIOS) == {"climb", "regression", "weak"}
    assert all(scenario.ending is not Ending.OPEN and scenario.limit_s <= 300 for scenario in SCENARIOS.values())
