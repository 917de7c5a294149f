from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.split import bucket, is_student, sampled

KEYS = [f"user-{number}" for number in range(100_000)]
BUCKETS = [bucket("triage/1", key) for key in KEYS]


def three_sigma(share_bp: int, count: int) -> float:
    share = share_bp / 10_000
    return 3 * sqrt(count * share * (1 - share))


@pytest.mark.parametrize("share_bp", [100, 1000, 5000])
def test_a_share_is_kept_within_three_sigma_over_100_000_keys(share_bp: int):
    students = sum(is_student(place, share_bp) for place in BUCKETS)
    assert abs(students - len(KEYS) * share_bp / 10_000) <= three_sigma(share_bp, len(KEYS))


def test_a_growing_share_moves_keys_one_way_each_at_most_once():
    shares = (0, 1, 100, 500, 1000, 2500, 5000, 9000, 10_000)
    for place in BUCKETS[:5000]:
        arms = [is_student(place, share_bp) for share_bp in shares]
        assert arms == sorted(arms)
        assert (arms[0], arms[-1]) == (False, True)


def test_buckets_are_uniform():
    counts = [0] * 100
    for place in BUCKETS:
        counts[place // 100] += 1
    expected = len(KEYS) / 100
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < 148.2  # 99 degrees of freedom, p = 0.001


def test_another_salt_is_another_shuffle():
    first = {key for key, place in zip(KEYS, BUCKETS, strict=True) if is_student(place, 1000)}
    second = {key for key in first if is_student(bucket("triage/2", key), 1000)}
    assert abs(len(second) - len(first) / 10) <= three_sigma(1000, len(first))


@pytest.mark.parametrize(
    ("salt", "key", "place"),
    [("triage/1", "user-0", 5908), ("", "", 5896), ("s", "ünï", 7853), ("s", "\ud800", 2695)],
)
def test_a_key_has_its_place_in_every_process_and_version(salt: str, key: str, place: int):
    assert bucket(salt, key) == place


@given(st.text(), st.text(st.characters(codec=None)), st.integers(0, 10_000))
def test_every_key_has_a_place_and_the_ends_are_exact(salt: str, key: str, share_bp: int):
    place = bucket(salt, key)
    assert 0 <= place < 10_000
    assert not is_student(place, 0)
    assert is_student(place, 10_000)
    assert is_student(place, share_bp) == (place < share_bp)


def test_samples_hit_their_rate_nest_and_differ_by_day():
    tenth = {key for key in KEYS[:20_000] if sampled("s", key, "2026-11-24", 1000)}
    third = {key for key in KEYS[:20_000] if sampled("s", key, "2026-11-24", 3000)}
    next_day = {key for key in KEYS[:20_000] if sampled("s", key, "2026-11-25", 1000)}
    assert abs(len(tenth) - 2000) <= three_sigma(1000, 20_000)
    assert tenth < third
    assert abs(len(tenth & next_day) - 200) <= three_sigma(100, 20_000)


@pytest.mark.parametrize(("rate_bp", "drawn"), [(0, False), (10_000, True)])
def test_none_and_all_are_exact(rate_bp: int, drawn: bool):
    assert {sampled("s", key, "2026-11-24", rate_bp) for key in KEYS[:500]} == {drawn}
