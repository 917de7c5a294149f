import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.stages import Ladder

SHARES = st.sets(st.integers(1, 10_000), min_size=1, max_size=8).map(lambda shares: (0, *sorted(shares)))


@pytest.mark.parametrize("shares", [(), (0,), (100, 1000), (0, 100, 100), (0, 1000, 100), (0, 10_001), (-1, 5)])
def test_a_ladder_starts_at_zero_and_rises(shares: tuple[int, ...]):
    with pytest.raises(ValueError, match="stages"):
        Ladder(shares_bp=shares)


@given(SHARES, st.integers(0, 10_000))
def test_the_rung_of_a_share_is_the_highest_that_does_not_exceed_it(shares: tuple[int, ...], share_bp: int):
    ladder = Ladder(shares_bp=shares)
    rung = ladder.rung_at_or_below(share_bp)
    assert ladder.share_bp(rung) <= share_bp
    assert rung == ladder.top or ladder.share_bp(rung + 1) > share_bp


@given(SHARES)
def test_every_rung_finds_itself(shares: tuple[int, ...]):
    ladder = Ladder(shares_bp=shares)
    assert [ladder.rung_at_or_below(share) for share in shares] == list(range(ladder.top + 1))
