"""How many users there are when."""

import pytest

from loadtests.users.shapes import PEAK, QUIET, SHAPES, users_at


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_users_throughout_and_ends_by_itself(shape: str):
    wanted = [users_at(shape, second / 10, 30.0) for second in range(300)]
    assert all(users is not None and 1 <= users <= PEAK for users in wanted)
    assert users_at(shape, 30.0, 30.0) is None


def test_a_ramp_never_falls_and_stands_at_the_peak_in_the_last_third():
    wanted = [SHAPES["ramp"](second, 30.0) for second in range(30)]
    assert wanted == sorted(wanted)
    assert wanted[20:] == [PEAK] * 10


def test_a_spike_comes_and_goes():
    assert [SHAPES["spike"](second, 30.0) for second in (0, 9, 10, 19, 20, 29)] == [
        QUIET,
        QUIET,
        PEAK,
        PEAK,
        QUIET,
        QUIET,
    ]


def test_a_soak_stands_still():
    assert {SHAPES["soak"](second, 30.0) for second in range(30)} == {PEAK // 2}
