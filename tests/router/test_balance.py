from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.balance import at_home, least_loaded


@dataclass(frozen=True)
class Fake:
    name: str
    outstanding: int = 0
    available: bool = True


def fakes(*loads: int) -> list[Fake]:
    return [Fake(f"r{index}", load) for index, load in enumerate(loads)]


SESSIONS = [f"session-{number}" for number in range(2000)]
REPLICAS = st.lists(st.builds(Fake, st.text(max_size=3), st.integers(0, 9), st.booleans()), min_size=1, max_size=6)
DRAW = st.floats(0, 1, exclude_max=True)


@given(REPLICAS, DRAW)
def test_an_unavailable_replica_is_taken_only_when_all_are(replicas: list[Fake], draw: float):
    any_available = any(replica.available for replica in replicas)
    assert least_loaded(replicas, draw).available == any_available
    assert at_home(replicas, "s", 2).available == any_available


@given(st.integers(2, 6), DRAW)
def test_the_most_loaded_is_never_taken_where_there_are_others(count: int, draw: float):
    replicas = fakes(9, *[0] * (count - 1))
    assert least_loaded(replicas, draw) is not replicas[0]


def test_equal_replicas_are_taken_equally_often():
    random = Random(3)
    replicas = fakes(0, 0, 0, 0)
    taken = Counter(least_loaded(replicas, random.random()).name for _ in range(8000))
    assert all(abs(count - 2000) < 3 * 39 for count in taken.values())
    assert len(taken) == 4


def test_two_different_replicas_are_drawn():
    taken = {least_loaded(fakes(0, 1), step / 100).name for step in range(100)}
    assert taken == {"r0"}


def test_a_session_has_one_home_and_homes_are_spread():
    replicas = fakes(0, 0, 0)
    homes = Counter(at_home(replicas, session, 2).name for session in SESSIONS)
    assert all(
        at_home(list(reversed(replicas)), session, 2).name == at_home(replicas, session, 2).name for session in SESSIONS
    )
    assert all(abs(count - 2000 / 3) < 3 * 21.1 for count in homes.values())


def test_a_replica_that_goes_moves_only_its_own_sessions():
    three = fakes(0, 0, 0)
    two = [three[0], Fake("r1", available=False), three[2]]
    for session in SESSIONS:
        before = at_home(three, session, 2).name
        assert before == "r1" or at_home(two, session, 2).name == before


@pytest.mark.parametrize(("load", "moved"), [(0, False), (8, False), (9, True)])
def test_a_session_leaves_its_home_only_while_that_is_busier_by_more_than_the_slack(load: int, moved: bool):
    idle = fakes(0, 0, 0)
    for session in SESSIONS[:50]:
        home = at_home(idle, session, 8)
        busy = [Fake(replica.name, load if replica is home else 0) for replica in idle]
        assert (at_home(busy, session, 8).name != home.name) == moved


def test_any_text_can_be_a_session():
    assert at_home(fakes(0, 0), "\ud800\0", 2).name in ("r0", "r1")
