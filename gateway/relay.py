"""The relay: an upstream's answer to the client, byte for byte, and a reference to every byte for capture.

Two steps. `hold` opens nothing and sends nothing: it reads a reply until something can be said of it (the first event of a
stream, the whole of any other body) and names its fault, so that another arm may still take over. `relay` sends what was
held and the rest. After the first byte a failure becomes an in-band error event, and the answer counts as truncated.

    fault            status_NNN · error_event (200 with an error) · malformed · truncated (ended before its end)
                     · the kinds of `gateway.upstreams.base`

However full the memory is, what decides on a fault is held: an error whole, of anything else the beginning. An answer that must
be changed (`model: echo`) and cannot be held is refused: it would say something else than the same answer a minute later.

Must not know of routes, plans or breakers.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

import msgspec

from gateway.client import SHUTDOWN, Client, Line
from gateway.errors import NO_RETRY, SERVER_ERROR, SHOULD_RETRY, Overloaded, envelope, in_band, in_band_typed
from gateway.memory import Memory
from gateway.prefix import text_of
from gateway.sse import Ending, Scanner, TypedScanner, is_error, scanner_of, with_model_named
from gateway.upstreams.base import Headers, Pour, Reply, Room, Take, TimedOut, UpstreamError, Whole
from gateway.wire import to_client
from gateway.wording import REFUSED, Wording
from tutelage.capture.answers import FIELD_BYTES, begins_stream, names_stream
from tutelage.capture.raw import RawAttempt

_fields: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])

TRUNCATED = "truncated"
MALFORMED = "malformed"
ERROR_EVENT = "error_event"
UNHELD = "memory_full"


class Clock(Protocol):
    """Monotonic seconds."""

    def __call__(self) -> float: ...


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint's answers look like. `field` stands in every good body, None where there are bodies of any kind."""

    field: str | None = "choices"
    ending: Ending = Ending.DONE


NOT_MODIFIED = 304
"""What is passed through may be asked whether it has changed; a redirect is not followed, nor handed on."""
OPAQUE_BYTES = 2**20
"""Of a body of any kind that is held; one without a length is a stream of its own kind, such as speech, and is not."""
ERROR_BYTES = 2**20
"""Of an upstream's error. It is looked through before it is handed on, so it is held whole, however full the memory is."""
KNOWN_BYTES = 64 * 1024
"""Of anything else, likewise: an error with status 200 is shorter, and so is what comes before an answer's `model`."""

CHAT = Form()
ANY = Form(field=None, ending=Ending.ANY)


class Held(msgspec.Struct, kw_only=True, eq=False):
    """A reply of which nothing was sent yet. `parts` came already; `chunks` gives the rest unless `complete`. `lines` are the
    header lines that go with them; `echo` is what the model is to be called instead of what the upstream says; an error is told
    in the upstream's `wording`.

    Of its bytes `attempt` keeps up to `limit_bytes`, and up to the process's `memory`; what is beyond either is not kept, nor
    what came before. `held_bytes` are taken of `memory`: whoever ends the request gives them back. `began` is when the attempt
    did, by `clock`.
    """

    reply: Reply
    status: int
    attempt: RawAttempt
    chunks: AsyncIterator[bytes]
    form: Form
    wording: Wording
    echo: str | None
    memory: Memory
    limit_bytes: int
    clock: Clock
    began: float
    held_bytes: int = 0
    scanner: Scanner | None = None
    parts: list[bytes] = []
    lines: Headers = ()
    complete: bool = False
    closed: bool = False
    fault: str | None = None

    def keep(self, chunk: bytes) -> None:
        """Of an answer's bytes, as they pass."""
        attempt = self.attempt
        if attempt.first_token_ms is None and chunk:
            attempt.first_token_ms = (self.clock() - self.began) * 1000
        if not self.limit_bytes:
            return
        size, memory = len(chunk), self.memory
        self.held_bytes += size
        memory.taken_bytes += size
        if self.held_bytes > self.limit_bytes or memory.taken_bytes >= memory.limit_bytes:
            self.limit_bytes = 0
            attempt.overflow = True
            attempt.chunks = []
            self._take(-self.held_bytes)
        else:
            attempt.chunks.append(chunk)

    def keep_waiting(self, chunk: bytes) -> None:
        """As `keep`, for what waits in memory whether it is kept or not."""
        self.keep(chunk)
        if not self.limit_bytes:
            self._take(len(chunk))

    def _take(self, size: int) -> None:
        self.held_bytes += size
        self.memory.taken_bytes += size

    async def aclose(self) -> None:
        """Give the connection back or close it. Idempotent."""
        self.closed = True
        chunks: object = self.chunks
        if chunks is not self.reply and isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
        await self.reply.aclose()


async def hold(held: Held, *, strip_usage: bool, bound: int) -> None:
    """Read what can be read before the head is sent, and name the fault. Raises UpstreamError. `bound` limits what is held.

    Raises Overloaded where the answer must be changed and there is no room for it.
    """
    headers = held.reply.headers
    held.attempt.status = held.status
    held.attempt.headers = held.lines = headers
    values = dict(reversed(headers))  # the first of each
    plain = values.get(b"content-encoding", b"identity") == b"identity"
    untold: Scanner | None = None
    if held.status == 200 and plain:
        kind = values.get(b"content-type")
        named = names_stream(None if kind is None else kind.decode("latin-1"))
        if named or (named is None and held.form.field is not None):
            told = held.wording.events
            untold = scanner_of(held.form.ending, strip_usage=strip_usage, model=held.echo, told=told)
        if named:
            held.scanner, untold = untold, None
    if held.status >= 400:
        bound = min(bound, ERROR_BYTES)
    elif held.form.field is None:
        bound = min(bound, OPAQUE_BYTES) if b"content-length" in values else 0
    whole: Whole | None = getattr(held.chunks, "whole", None)
    if whole is not None and bound and held.scanner is untold is None and (body := whole()) is not None:
        held.keep_waiting(body)
        held.parts.append(body)
        held.complete = held.closed = True
    else:
        await _until_known(held, bound, untold)
    held.fault = _fault(held, plain)
    held.attempt.error = held.fault
    if held.status >= 400:
        _look_through(held, plain)
    elif held.scanner is None and plain:
        if held.fault is ERROR_EVENT:
            held.parts = [held.wording.body(b"".join(held.parts))]
        if held.echo is not None:
            _name_model(held, held.echo)


async def _until_known(held: Held, bound: int, untold: Scanner | None) -> None:
    """Read up to the first event of a stream, up to the end of anything else. `untold` reads what no type calls a stream and
    its bytes do."""
    size = 0
    async for chunk in held.chunks:
        held.keep_waiting(chunk)
        size += len(chunk)
        held.parts.append(chunk if held.scanner is None else held.scanner.feed(chunk))
        if untold is not None and size >= FIELD_BYTES:
            _decide(held, untold)
            untold = None
        full = size > KNOWN_BYTES and held.memory.full and held.status < 400
        if size > bound or full or (held.scanner is not None and held.scanner.events):
            break
    else:
        held.complete = True
        if held.scanner is not None:
            held.scanner.ended()


def _decide(held: Held, untold: Scanner) -> None:
    """Let the bytes that have come say whether this is a stream: then `untold` reads it from its beginning."""
    begun = b"".join(held.parts)
    if begins_stream(begun):
        held.scanner, held.parts = untold, [untold.feed(begun)]


def _name_model(held: Held, name: str) -> None:
    """The answer, or its beginning, that calls its model so. Raises Overloaded."""
    body = b"".join(held.parts)
    if held.complete:
        held.parts = [with_model_named(body, name)]
    elif (found := text_of(body, "model")) is not None:
        held.parts = [body[: found[0]], msgspec.json.encode(name), body[found[1] :]]
    elif held.form.field is not None:
        held.attempt.error = UNHELD
        raise Overloaded


def _look_through(held: Held, plain: bool) -> None:  # noqa: FBT001 a fact
    """Leave of an upstream's error what clients may read."""
    if held.status == 401:
        _say(held, REFUSED)
    elif plain and not held.complete:
        _say(held, f"The model's server refused the request, in more than {ERROR_BYTES} bytes.")
    elif plain:
        held.parts = [held.wording.body(b"".join(held.parts))]


def _say(held: Held, message: str) -> None:
    """Our own words in the place of the upstream's."""
    held.parts, held.complete = [envelope(message, SERVER_ERROR, code=f"upstream_status_{held.status}")], True
    kept = [line for line in held.lines if line[0] not in (b"content-type", b"content-encoding")]
    held.lines = [*kept, (b"content-type", b"application/json")]


def _fault(held: Held, plain: bool) -> str | None:  # noqa: FBT001 a fact
    if held.status >= 400:
        return f"status_{held.status}"
    if held.status != 200:
        answered = 200 < held.status < 300 or (held.status == NOT_MODIFIED and held.form.ending is Ending.ANY)
        return None if answered else f"status_{held.status}"
    scanner = held.scanner
    if scanner is not None:
        if scanner.error:
            return ERROR_EVENT
        if held.form.ending is Ending.ANY:
            return None
        if scanner.malformed:
            return MALFORMED
        return TRUNCATED if held.complete and not scanner.done else None
    if not held.complete or not plain or held.form.field is None:
        return None
    return _fault_of_body(b"".join(held.parts), held.form.field)


def _fault_of_body(body: bytes, field: str) -> str | None:
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None if b"\\ud" in body.lower() else MALFORMED  # lone surrogates are the model's own business
    if field in fields:
        return ERROR_EVENT if bytes(fields.get("status", b"")) == b'"failed"' else None
    return ERROR_EVENT if is_error(body) else MALFORMED


def head_of(held: Held, ours: Sequence[Line]) -> list[Line]:
    """The answer's header lines: the upstream's that may travel, then ours."""
    lines = to_client(held.lines)
    if NO_RETRY[0] in ours:  # what we know of our budget, the upstream does not
        lines = [line for line in lines if line[0] != SHOULD_RETRY]
    if held.scanner is not None:
        lines = [line for line in lines if line[0] not in (b"cache-control", b"x-accel-buffering")]
        lines += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    lines += ours
    return lines


async def relay(held: Held, client: Client, head: Sequence[Line], total_s: float) -> None:
    """Send the answer. Whatever happens to it on the way is told to the client, and stands in `attempt.error` and `broke`."""
    if held.complete and held.scanner is None:
        client.respond(held.status, head, b"".join(held.parts))
        return
    client.start(held.status, head)
    try:
        async with asyncio.timeout(total_s):
            await _pass_on(held, client)
    except UpstreamError as error:
        break_off(held, client, error.kind)
    except TimeoutError:
        break_off(held, client, TimedOut(held.attempt.upstream, "total", total_s).kind)


async def _pass_on(held: Held, client: Client) -> None:
    scanner = held.scanner

    write, keep, feed = client.write, held.keep, None if scanner is None else scanner.feed

    def take(chunk: bytes) -> bool:
        keep(chunk)
        return write(chunk if feed is None else feed(chunk))

    if not client.write(b"".join(held.parts)):
        await client.room()
    held.parts.clear()
    if not held.complete:
        await _pour(held.chunks, take, client.room)
        if scanner is not None:
            scanner.ended()
    if scanner is not None:
        if scanner.error:
            held.attempt.error, held.attempt.broke = ERROR_EVENT, True
        elif not scanner.done and held.form.ending is not Ending.ANY:
            break_off(held, client, TRUNCATED)
            return
        client.end(scanner.rest())
        return
    client.end()


async def _pour(chunks: AsyncIterator[bytes], take: Take, room: Room) -> None:
    pour: Pour | None = getattr(chunks, "pour", None)
    if pour is not None:
        await pour(take, room)
        return
    async for chunk in chunks:
        if not take(chunk):
            await room()


def break_off(held: Held, client: Client, cause: str) -> None:
    """Tell inside the answer that it ends early; then the end. A plain body just stops: its framing tells."""
    if cause != SHUTDOWN:  # that one is no fault of the arm's
        held.attempt.error, held.attempt.broke = cause, True
    scanner = held.scanner
    if scanner is None:
        return
    told = (
        "The gateway is shutting down." if cause == SHUTDOWN else f"The model's server broke off its answer ({cause})."
    )
    code = f"gateway_{cause}" if cause == SHUTDOWN else f"upstream_{cause}"
    event = in_band_typed(told, code, scanner.next_number) if isinstance(scanner, TypedScanner) else in_band(told, code)
    client.end((b"\n\n" if scanner.inside else b"") + event)
