from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.stickiness import BODY, FIRST_MESSAGE, sticky_key
from tutelage.contracts.routes import STICKINESS

SOURCES = (*STICKINESS, BODY)


def never() -> NoReturn:
    raise AssertionError("costly values are asked for only when their turn comes")


@dataclass(frozen=True, kw_only=True)
class Values:
    """A request's candidates, as given."""

    tenant: str = "acme"
    headers: Mapping[str, str] | None = None
    fields: Mapping[str, object] | None = None
    first: Callable[[], str | None] = lambda: None
    digest: Callable[[], bytes] = lambda: b"digest"

    def header(self, name: str) -> str | None:
        return (self.headers or {}).get(name)

    def field(self, name: str) -> object:
        return (self.fields or {}).get(name)

    def first_message(self) -> str | None:
        return self.first()

    def body_digest(self) -> bytes:
        return self.digest()


RICH = Values(
    headers={"x-tutelage-session": "session-1"},
    fields={"prompt_cache_key": "cache-1", "safety_identifier": "safe-1", "user": "ann"},
    first=lambda: "You are kind.\nHello",
)


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_the_first_source_that_has_a_value_wins(first: int):
    sources = SOURCES[first:]
    assert sticky_key(sources, RICH)[0] == sources[0]


def test_costly_values_are_not_asked_for_when_a_cheap_one_is_there():
    cheap = replace(RICH, first=never, digest=never)
    assert sticky_key(SOURCES, cheap)[0] == "header:x-tutelage-session"


@pytest.mark.parametrize("value", ["", None, 7, ["ann"], {"id": "ann"}, True])
def test_what_is_empty_or_no_text_does_not_count(value: object):
    asked = Values(fields={"user": value}, first=lambda: "hello")
    assert sticky_key(("user", FIRST_MESSAGE), asked)[0] == FIRST_MESSAGE


@pytest.mark.parametrize("sources", [(), ("user",), SOURCES])
def test_there_is_always_a_key(sources: tuple[str, ...]):
    source, key = sticky_key(sources, Values())
    assert source == BODY
    assert key != sticky_key(sources, Values(digest=lambda: b"other"))[1]


def test_header_names_are_read_in_any_case():
    asked = Values(headers={"x-session": "1"})
    assert sticky_key(("header:X-Session",), asked)[0] == "header:X-Session"


def test_the_same_value_of_another_tenant_or_source_is_another_key():
    keys = {
        sticky_key(("user",), Values(fields={"user": "1"}))[1],
        sticky_key(("user",), Values(fields={"user": "1"}, tenant="other"))[1],
        sticky_key(("prompt_cache_key",), Values(fields={"prompt_cache_key": "1"}))[1],
    }
    assert len(keys) == 3


def test_a_key_is_the_same_every_time_and_shows_nothing_of_the_value():
    _, key = sticky_key(("user",), Values(fields={"user": "ann@example.org"}))
    assert key == sticky_key(("user",), Values(fields={"user": "ann@example.org"}))[1]
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


ANY_TEXT = st.text(st.characters(codec=None), min_size=1)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_two_users_share_a_key_only_where_tenant_and_value_agree(tenant: str, user: str, tenant_2: str, user_2: str):
    one = sticky_key(("user",), Values(tenant=tenant, fields={"user": user}))
    two = sticky_key(("user",), Values(tenant=tenant_2, fields={"user": user_2}))
    assert (one == two) == ((tenant, user) == (tenant_2, user_2))
