from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.contracts.ids import made_at, uuid7


@given(at=st.floats(0, 4e9), entropy=st.binary(min_size=10, max_size=10))
def test_an_identifier_is_a_uuid7_that_tells_its_time(at: float, entropy: bytes):
    made = UUID(uuid7(at, entropy))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made_at(str(made)) == int(at * 1000) / 1000


def test_identifiers_sort_by_time():
    earlier, later = uuid7(1_700_000_000.0, b"\xff" * 10), uuid7(1_700_000_000.001, bytes(10))
    assert earlier < later


def test_the_same_arguments_name_the_same_and_the_systems_randomness_does_not():
    assert uuid7(1.0, b"0123456789") == uuid7(1.0, b"0123456789")
    assert len({uuid7(1.0) for _ in range(100)}) == 100


@pytest.mark.parametrize(("at", "entropy"), [(-1.0, bytes(10)), (1.0, bytes(9)), (1.0, bytes(16))])
def test_what_makes_no_identifier_is_refused(at: float, entropy: bytes):
    with pytest.raises(ValueError, match="need at >= 0 and 10 random bytes"):
        uuid7(at, entropy)


def test_the_time_of_another_kind_of_uuid_is_refused():
    with pytest.raises(ValueError, match="is not a UUIDv7"):
        made_at("b3e1a2c4-0000-4000-8000-000000000000")
