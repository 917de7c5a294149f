import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.stickiness import BODY, DEFAULT_SOURCES, FIRST_MESSAGE, Candidates, sticky_key


def never() -> None:
    raise AssertionError("costly values are asked for only when their turn comes")


def candidates(**fields: object) -> Candidates:
    usual = Candidates(tenant="acme", headers={}, fields={}, first_message=lambda: None, body_digest=lambda: b"digest")
    return usual._replace(**fields)  # type: ignore[arg-type]  # the tests name fields that exist


RICH = candidates(
    headers={"x-tutelage-session": "session-1"},
    fields={"prompt_cache_key": "cache-1", "safety_identifier": "safe-1", "user": "ann"},
    first_message=lambda: "You are kind.\nHello",
)


@pytest.mark.parametrize("first", range(len(DEFAULT_SOURCES)))
def test_the_first_source_that_has_a_value_wins(first: int):
    sources = DEFAULT_SOURCES[first:]
    assert sticky_key(sources, RICH)[0] == sources[0]


def test_costly_values_are_not_asked_for_when_a_cheap_one_is_there():
    cheap = RICH._replace(first_message=never, body_digest=never)  # type: ignore[arg-type]  # they return nothing
    assert sticky_key(DEFAULT_SOURCES, cheap)[0] == "header:x-tutelage-session"


@pytest.mark.parametrize("value", ["", None, 7, ["ann"], {"id": "ann"}, True])
def test_what_is_empty_or_no_text_does_not_count(value: object):
    asked = candidates(fields={"user": value}, first_message=lambda: "hello")
    assert sticky_key(("user", FIRST_MESSAGE), asked)[0] == FIRST_MESSAGE


@pytest.mark.parametrize("sources", [(), ("user",), DEFAULT_SOURCES])
def test_there_is_always_a_key(sources: tuple[str, ...]):
    source, key = sticky_key(sources, candidates())
    assert source == BODY
    assert key != sticky_key(sources, candidates(body_digest=lambda: b"other"))[1]


def test_header_names_are_read_in_any_case():
    asked = candidates(headers={"x-session": "1"})
    assert sticky_key(("header:X-Session",), asked)[0] == "header:X-Session"


def test_the_same_value_of_another_tenant_or_source_is_another_key():
    keys = {
        sticky_key(("user",), candidates(fields={"user": "1"}))[1],
        sticky_key(("user",), candidates(fields={"user": "1"}, tenant="other"))[1],
        sticky_key(("prompt_cache_key",), candidates(fields={"prompt_cache_key": "1"}))[1],
    }
    assert len(keys) == 3


def test_a_key_is_the_same_every_time_and_shows_nothing_of_the_value():
    _, key = sticky_key(("user",), candidates(fields={"user": "ann@example.org"}))
    assert key == sticky_key(("user",), candidates(fields={"user": "ann@example.org"}))[1]
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


ANY_TEXT = st.text(st.characters(codec=None), min_size=1)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_two_users_share_a_key_only_where_tenant_and_value_agree(tenant: str, user: str, tenant_2: str, user_2: str):
    one = sticky_key(("user",), candidates(tenant=tenant, fields={"user": user}))
    two = sticky_key(("user",), candidates(tenant=tenant_2, fields={"user": user_2}))
    assert (one == two) == ((tenant, user) == (tenant_2, user_2))
