"""A member's text is found as soon as it is there, and nothing else is taken for it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prefix import text_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=5,
)
OTHERS = st.dictionaries(st.text().filter(lambda name: name != "model"), JSON, max_size=3)


@given(before=OTHERS, text=st.text(), spaces=st.sampled_from([None, 1]), cut=st.integers(0, 300))
def test_it_is_found_in_every_beginning_that_holds_it(
    before: dict[str, object], text: str, spaces: int | None, cut: int
):
    whole = json.dumps({**before, "model": text, "choices": [{"model": "nested"}]}, indent=spaces).encode()
    found = text_of(whole, "model")
    assert found is not None
    start, end = found
    assert json.loads(whole[start:end]) == text
    cut = min(cut, len(whole))
    assert text_of(whole[:cut], "model") == (found if cut >= end else None)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b'{"a": {"model": "nested"}, ',
        b'{"a": ["model", "x"], ',
        b'{"a": "\\"model\\": \\"text\\"", ',
        b'{"a": "and no end, \\"model\\": \\"x\\", ',
        b'{"model": 7, ',
        b'{"model": {"model": "nested"}, ',
        b'"model": "no object"',
        b'["model", "x"]',
    ],
)
def test_what_is_no_member_of_its_own_is_not_taken_for_one(beginning: bytes):
    assert text_of(beginning, "model") is None
