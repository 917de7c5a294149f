from collections.abc import Iterator
from typing import Any

import pytest

from router.events import Begin, ChangeMode, NewEpoch, NewStudent
from router.rollout import Phase, step
from router.types import Mode, Sampling
from tests.tutelage.control.made import NOW, ROUTE, settings
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.parts import with_parts
from tutelage.control.declaration import Declared, declared, first, next_event
from tutelage.control.snapshot import published, reverse_bp, sampling

RUBRICS = {"exact@1": "digest"}


def wanted(at: float = NOW, **changes: Any) -> Declared:
    found = declared(settings(**changes), ROUTE, RUBRICS, at)
    assert found is not None
    return found


def salts() -> Iterator[str]:
    yield from (f"salt-{number}" for number in range(100))


def settled(before: Declared, after: Declared) -> list[str]:
    """The names of the events between what `before` came to and `after`."""
    made = salts()
    rollout = first(before, next(made), NOW)
    names: list[str] = []
    for declaration in (before, after):
        names.clear()
        while (event := next_event(rollout, declaration, lambda: next(made), NOW)) is not None:
            rollout, _ = step(rollout, event)
            names.append(type(event).__name__)
    return names


def test_the_same_declaration_is_the_same_epoch_whenever_it_is_read():
    assert wanted(NOW).epoch.id == wanted(NOW + 5).epoch.id


@pytest.mark.parametrize(
    ("changes", "events"),
    [
        ({}, []),
        ({"student_version": "v2"}, ["NewStudent"]),
        ({"rubric": "exact@2"}, ["NewEpoch"]),
        ({"rollout": {"stages": ["0%", "50%"], "dwell": 0}}, ["NewEpoch"]),
        ({"rollout": {"stages": ["0%", "10%", "90%"], "dwell": 0, "margin": 0.1}}, ["NewEpoch"]),
        ({"rollout": {"mode": "observe", "stages": ["0%", "10%", "90%"], "dwell": 0}}, ["ChangeMode"]),
    ],
)
def test_a_changed_configuration_becomes_its_events(changes: dict[str, Any], events: list[str]):
    assert settled(wanted(), wanted(**changes)) == events


def test_a_rollout_is_pending_until_the_students_training_time_is_over():
    declaration = wanted()
    rollout = first(declaration, "s", NOW)
    trained_until = declaration.epoch.trained_until
    assert trained_until is not None
    assert rollout.phase is Phase.PENDING
    assert next_event(rollout, declaration, str, trained_until - 1) is None
    assert isinstance(next_event(rollout, declaration, str, trained_until), Begin)


def test_a_fixed_share_begins_where_the_configuration_says():
    declaration = wanted(share="10%")
    assert declaration.mode is Mode.FIXED
    rollout = first(declaration, "s", NOW)
    event = next_event(rollout, declaration, str, NOW)
    assert isinstance(event, Begin)
    begun, _ = step(rollout, event)
    assert (begun.phase, begun.share_bp) == (Phase.MANUAL, 1000)
    assert next_event(begun, declaration, str, NOW) is None


def test_a_route_without_a_student_declares_nothing():
    plain = settings(student=None, rollout=None, rubric=None)
    assert declared(plain, ROUTE, RUBRICS, NOW) is None


def test_stages_that_are_no_ladder_are_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"routes\.triage\.rollout\.stages"):
        wanted(rollout={"stages": ["1%", "10%"]})


def test_the_digest_is_that_of_the_content():
    assert published(settings(), NOW).digest == published(settings(), NOW + 1).digest
    assert published(settings(), NOW).digest != published(settings(student_version="v2"), NOW).digest


@pytest.mark.parametrize(
    ("per_day", "expected"), [(None, 10_000), (0.0, 10_000), (500.0, 10_000), (1000.0, 5000), (1e9, 1)]
)
def test_the_automatic_teacher_rate_is_pairs_per_day_over_traffic(per_day: float | None, expected: int):
    assert reverse_bp(settings(shadow={"pairs_per_day": 500}).routes[ROUTE].shadow, per_day) == expected


def test_a_new_rate_is_a_new_policy_version_with_the_same_salt():
    shadow = settings(shadow={"student": "50%", "holdout": "20%"}).routes[ROUTE].shadow
    begun = sampling(shadow, None, 10_000, lambda: "salt")
    assert begun == Sampling(forward_bp=5000, reverse_bp=10_000, holdout_bp=2000, salt="salt", version=1)
    assert sampling(shadow, begun, 10_000, str) is None
    changed = sampling(shadow, begun, 4000, str)
    assert changed == Sampling(forward_bp=5000, reverse_bp=4000, holdout_bp=2000, salt="salt", version=2)


def test_events_name_what_changed():
    rollout = first(wanted(), "s", NOW)
    event = next_event(rollout, wanted(student_version="v2"), lambda: "t", NOW)
    assert isinstance(event, NewStudent)
    assert event.reason == "the student is small@v2, it was small@v1"
    assert isinstance(next_event(rollout, wanted(rubric="exact@2"), str, NOW), NewEpoch)
    observed = wanted(rollout={"mode": "observe", "stages": ["0%", "10%", "90%"], "dwell": 0})
    assert isinstance(next_event(rollout, observed, str, NOW), ChangeMode)


# --- parts ------------------------------------------------------------------------------------------------------------

CARVED: dict[str, Any] = {
    "slices": {"routing": ["header:x-tutelage-slice", "header:x-team"]},
    "rollout": {
        "stages": ["0%", "10%", "90%"],
        "gates": {"carve_outs": {"slice": "slice", "weights": {"gold": 0.5, "basic": 0.3}}},
    },
}
OTHER_WEIGHTS = CARVED["rollout"] | {"gates": {"carve_outs": {"slice": "slice", "weights": {"gold": 0.4}}}}


def test_each_part_has_an_epoch_of_its_own_with_its_weight():
    made = with_parts(settings(**CARVED))
    found = {name: declared(made, name, RUBRICS, NOW) for name in made.routes}
    epochs = {name: one.epoch for name, one in found.items() if one is not None}
    assert {name: epoch.weight for name, epoch in epochs.items()} == pytest.approx(
        {ROUTE: 0.2, f"{ROUTE}:gold": 0.5, f"{ROUTE}:basic": 0.3}
    )
    assert len({epoch.id for epoch in epochs.values()}) == len(epochs)
    assert {epoch.gates.slices for epoch in epochs.values()} == {("x-team",)}, "within a part its slice says nothing"


def test_other_weights_are_another_epoch():
    before, after = with_parts(settings(**CARVED)), with_parts(settings(**{**CARVED, "rollout": OTHER_WEIGHTS}))
    name = f"{ROUTE}:gold"
    first_of, second = (declared(made, name, RUBRICS, NOW) for made in (before, after))
    assert first_of is not None
    assert second is not None
    assert settled(first_of, second) == ["NewEpoch"]
