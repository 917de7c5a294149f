"""Keys: whatever is wrong with one, the answer is the same and says nothing; and it is wrong before a byte of the body counts."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from hashlib import sha256

import pytest

from gateway.auth import authenticate
from gateway.connection import LINGER_BYTES
from tests.gateway.harness import PATIENCE_S
from tests.hostile.target import CANARY, CHAT, Target, key, new_secret
from tests.hostile.wire import assert_refused, post, say
from tutelage.contracts.keys import Key

pytestmark = pytest.mark.anyio
BODY = b'{"model":"chat","messages":[]}'
MB = 2**20

# {data}, {admin}, {revoked} stand for the keys of the target.
WRONG: Mapping[str, tuple[bytes, ...]] = {
    "none": (),
    "empty line": (b"authorization:",),
    "no token": (b"authorization: Bearer",),
    "blank token": (b"authorization: Bearer  ",),
    "unknown": (b"authorization: Bearer tut-%s-unknown" % CANARY.encode(),),
    "equal prefix": (b"authorization: Bearer {data}x",),
    "prefix only": (b"authorization: Bearer tut-%s" % CANARY.encode(),),
    "twice": (b"authorization: Bearer {data}", b"authorization: Bearer {data}"),
    "two in a line": (b"authorization: Bearer {data}, Bearer {data}",),
    "another scheme": (b"authorization: Basic {data}",),
    "no scheme": (b"authorization: {data}",),
    "sql": (b"authorization: Bearer ' OR 1=1 --%s" % CANARY.encode(),),
    "not ASCII": (b"authorization: Bearer \xff\xfe{data}",),
    "30 KB": (b"authorization: Bearer " + CANARY.encode() * 2_700,),
    "an admin's": (b"authorization: Bearer {admin}",),
    "a revoked one": (b"authorization: Bearer {revoked}",),
    "in another header": (b"x-api-key: {data}", b"api-key: {data}"),
    "in a cookie": (b"cookie: authorization=Bearer {data}",),
    "for a proxy": (b"proxy-authorization: Bearer {data}",),
    "injected": (b"authorization: Bearer x\r\nx-authorization: Bearer {data}",),
}
PATHS = (CHAT, "/v1/models", "/v1/models/chat")


def lines_of(target: Target, name: str) -> list[bytes]:
    keys = target.keys
    named = {b"{data}": keys.data, b"{admin}": keys.admin, b"{revoked}": keys.revoked}
    lines = list(WRONG[name])
    for place, plain in named.items():
        lines = [line.replace(place, plain.encode()) for line in lines]
    return lines


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_key_is_one_401_that_tells_nothing(target: Target, name: str):
    without = await target.say(post(CHAT, BODY))
    answer = await target.say(post(CHAT, BODY, *lines_of(target, name)))
    assert_refused(answer, 401)
    assert answer.body == without.body
    assert answer.headers["www-authenticate"] == "Bearer"
    assert CANARY.encode() not in answer.raw
    await target.assert_serves()


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_wants_a_key(target: Target, path: str):
    method = b"POST" if path == CHAT else b"GET"
    answer = await target.say(b"%s %s HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % (method, path.encode()))
    assert_refused(answer, 401)


async def test_a_key_in_the_query_opens_nothing(target: Target):
    for name in ("api_key", "key", "access_token", "authorization"):
        assert_refused(await target.say(post(f"{CHAT}?{name}={target.keys.data}", BODY)), 401)


@pytest.mark.parametrize("value", [b"Bearer a\x00b", b"Bearer a\rb", b"Bearer a\nb", b"Bearer " + b"k" * MB])
async def test_a_key_that_no_header_may_hold_ends_the_connection(target: Target, value: bytes):
    answer = await target.say(post(CHAT, BODY, b"authorization: " + value))
    assert_refused(answer, 400, 431)
    await target.assert_serves()


async def test_a_body_without_a_key_is_not_read(target: Target):
    """Far more is offered than leaves: a bound that is thrown away, and what the sockets' buffers take."""
    size, before = 4 * LINGER_BYTES, target.memory_bytes()

    async def request() -> AsyncIterator[bytes]:
        yield b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), size)
        for _ in range(size // MB):
            yield b"x" * MB

    answer = await say(target.port, request())
    assert_refused(answer, 401)
    assert answer.sent < 2 * LINGER_BYTES
    assert target.memory_bytes() - before < 32 * MB
    await target.assert_serves()


async def test_a_revoked_key_is_refused_soon(target: Target):
    plain = new_secret()
    made = key(plain)
    store = target.store()
    answers: list[int] = []

    async def opens(status: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not answers or answers[-1] != status:
                answers.append((await target.post(BODY, key=plain)).status)

    try:
        store.put_key(made)
        await opens(200)
        store.revoke_key(made.id, 1.0)
        await opens(401)
    finally:
        store.close()


class Watched(Mapping[str, Key]):
    """Keys by digest; remembers what was looked for."""

    def __init__(self, found: Mapping[str, Key]) -> None:
        self.found, self.asked = found, list[str]()

    def __getitem__(self, digest: str) -> Key:
        self.asked.append(digest)
        return self.found[digest]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("keys are looked up, never walked")

    def __len__(self) -> int:
        return len(self.found)


def test_keys_are_compared_by_digest_alone():
    """So the time of a comparison tells nothing of a key."""
    plain = new_secret()
    made = key(plain)
    keys = Watched({made.digest: made})
    assert authenticate([(b"authorization", b"Bearer " + plain.encode())], keys) is made
    assert keys.asked == [sha256(plain.encode()).hexdigest()]


async def test_refusals_are_counted(target: Target):
    await target.say(post(CHAT, BODY))
    assert 'tutelage_gateway_refused_total{code="invalid_api_key"}' in await target.metrics()
