"""What a client may be told: one tree of refusals, one envelope.

    Refusal                      becomes `{"error": {"message", "type", "param", "code"}}`, always all four keys
    ├── BadRequest       400     the client's: the body cannot be read
    ├── Unauthorized     401     the client's: no key, a wrong one, a revoked one; never says which
    ├── Forbidden        403     the client's: this key may not do this
    ├── UnknownModel     404     the client's: no route of that name
    ├── UnknownPath      404     the client's: nothing is served there
    ├── NotPassedOn      404     the client's: only a `default_upstream` could serve it, and there is none
    ├── WrongMethod      405     the client's
    ├── NoWebSocket      400     the client's: WebSockets are not relayed
    ├── TooLarge         413     the client's: the body is above limits.request_mb
    ├── WrongEncoding    415     the client's: compressed bodies are not read
    ├── LimitReached     429     the client's: a limit of its own key
    ├── Overloaded       503     ours: too many requests at once; try again
    ├── NotReady         503     ours: no snapshot has been seen yet, so no key is known; try again
    ├── Draining         503     ours: this process is ending; try again (another one answers)
    ├── UpstreamFailed   502/504 an upstream's: no answer could be had
    └── InternalFault    500     ours: a defect; the message says nothing of it

SDKs retry 408, 409, 429 and 5xx by themselves; `x-should-retry` overrides that. Must not know of HTTP's framing.
To add a refusal: one class here, one row in the tree. Faults of upstreams are in `gateway.upstreams.base`.
"""

from math import ceil
from typing import Any

import msgspec

from router.limits import Exceeded, Which

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

Lines = tuple[tuple[bytes, bytes], ...]
SHOULD_RETRY = b"x-should-retry"
RETRY: Lines = ((SHOULD_RETRY, b"true"),)
NO_RETRY: Lines = ((SHOULD_RETRY, b"false"),)


def envelope(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> bytes:
    """The OpenAI error envelope as JSON bytes. `param` may be a client's own word, half a character of UTF-16 too."""
    if param is not None and not param.isascii():
        param = param.encode("utf-8", "replace").decode()
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def in_band(message: str, code: str) -> bytes:
    """The error as the last event of a stream that has begun."""
    return b"data: " + envelope(message, SERVER_ERROR, code=code) + b"\n\n"


def in_band_typed(message: str, code: str, number: int) -> bytes:
    """The same in a stream of typed events, for those who read the type and for those who read `error`. `number` is its place
    in the stream."""
    error = {"message": message, "type": SERVER_ERROR, "param": None, "code": code}
    event = {
        "type": "error",
        "code": code,
        "message": message,
        "param": None,
        "sequence_number": number,
        "error": error,
    }
    return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


class Refusal(Exception):
    """Base. `headers` go with the answer; `param` names the field at fault."""

    status = 400
    kind = INVALID_REQUEST
    code: str | None = None
    headers: Lines = ()

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    def body(self) -> bytes:
        return envelope(self.message, self.kind, param=self.param, code=self.code)


class BadRequest(Refusal):
    """The body cannot be read, or says something that no server could do."""


class Unauthorized(Refusal):
    """One text for every reason, so that nothing is learned about keys."""

    status = 401
    code = "invalid_api_key"
    headers: Lines = ((b"www-authenticate", b"Bearer"),)

    def __init__(self) -> None:
        super().__init__("Incorrect API key provided. Send a key of this gateway as `Authorization: Bearer KEY`.")


class Forbidden(Refusal):
    """The key is good and may not do this."""

    status = 403
    code = "forbidden"


class UnknownModel(Refusal):
    """No route of that name is visible to this key."""

    status = 404
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        shown = model if len(model) <= 128 else model[:128] + "…"
        super().__init__(f"The model {shown!r} does not exist or you do not have access to it.", param="model")


class UnknownPath(Refusal):
    """Nothing is served there."""

    status = 404
    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Unknown request URL: {method} {path[:256]}.")


class NotPassedOn(Refusal):
    """Other endpoints than the gateway's own are the default upstream's."""

    status = 404
    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(
            f"Unknown request URL: {method} {path[:256]}. This gateway has no default_upstream to relay it to."
        )


class WrongMethod(Refusal):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_supported"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"Not allowed to {method} on this URL. Use {allowed}.")
        self.headers = ((b"allow", allowed.encode()),)


class NoWebSocket(Refusal):
    """Relayed as what it would be without its upgrade, it would be answered with something else than was asked for."""

    code = "websocket_not_supported"

    def __init__(self) -> None:
        super().__init__("This gateway relays no WebSockets: speak HTTP, or connect to the provider itself.")


class TooLarge(Refusal):
    """The connection is closed: what is left of the body is not read."""

    status = 413
    code = "request_too_large"
    headers: Lines = ((b"connection", b"close"),)

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request is larger than the limit of {limit_bytes} bytes (limits.request_mb).")


class WrongEncoding(Refusal):
    """A compressed body is not read: it could hold any size."""

    status = 415
    code = "unsupported_content_encoding"


_LIMITS = {
    Which.CONCURRENCY: ("requests", "concurrency_limit_exceeded", "requests at once"),
    Which.REQUESTS: ("requests", "rate_limit_exceeded", "requests per minute"),
    Which.TOKENS: ("tokens", "rate_limit_exceeded", "tokens per minute"),
    Which.MONEY: ("insufficient_quota", "insufficient_quota", "dollars per day (UTC)"),
}
"""Type, code and words of each limit."""
_NUSD = 1_000_000_000


class LimitReached(Refusal):
    """A limit of the client's own key, `limit` as it is declared for all processes. What waiting does not cure, SDKs are told not
    to retry."""

    status = 429

    def __init__(self, exceeded: Exceeded, limit: int, processes: int) -> None:
        kind, code, words = _LIMITS[exceeded.which]
        wait_s = exceeded.wait_s
        shown = f"{limit / _NUSD:g}" if exceeded.which is Which.MONEY else str(limit)
        words += f", of which each of {processes} gateway processes gives a part" if processes > 1 else ""
        cure = "" if wait_s is None else f" Try again in {wait_s:.3g} s."
        reason = "asks for more than" if wait_s is None and exceeded.which is Which.TOKENS else "has reached"
        super().__init__(f"This request {reason} the limit of its key: {shown} {words}.{cure}", code=code)
        self.kind = kind
        lines = [NO_RETRY[0]] if wait_s is None else [(b"retry-after", b"%d" % max(1, ceil(wait_s)))]
        if exceeded.which in (Which.REQUESTS, Which.TOKENS):
            lines += [
                (f"x-ratelimit-limit-{kind}".encode(), str(limit).encode()),
                (f"x-ratelimit-remaining-{kind}".encode(), str(exceeded.remaining).encode()),
            ]
            if wait_s is not None:
                lines.append((f"x-ratelimit-reset-{kind}".encode(), f"{wait_s:.3f}s".encode()))
        self.headers = tuple(lines)


class Overloaded(Refusal):
    """As many requests as limits.streams allows are open already."""

    status = 503
    kind = SERVER_ERROR
    code = "overloaded"
    headers: Lines = ((b"retry-after", b"1"), *RETRY)

    def __init__(self) -> None:
        super().__init__("The gateway is serving as many requests as it can. Try again in a second.")


class NotReady(Refusal):
    """Neither the store nor a kept snapshot has told any key yet."""

    status = 503
    kind = SERVER_ERROR
    code = "not_ready"
    headers: Lines = ((b"retry-after", b"1"), *RETRY)

    def __init__(self) -> None:
        super().__init__("The gateway has not learned its keys yet. Try again in a second.")


class Draining(Refusal):
    """The process ends; a new connection reaches another one."""

    status = 503
    kind = SERVER_ERROR
    code = "draining"
    headers: Lines = ((b"retry-after", b"1"), (b"connection", b"close"), *RETRY)

    def __init__(self) -> None:
        super().__init__("This gateway process is shutting down. Try again.")


class UpstreamFailed(Refusal):
    """No arm gave an answer. `cause` is the error class that records and metrics show."""

    kind = SERVER_ERROR
    status = 502

    def __init__(self, status: int, cause: str) -> None:
        super().__init__(f"The model's server gave no usable answer ({cause}).", code=f"upstream_{cause}")
        self.status = status


class InternalFault(Refusal):
    """A defect of ours: logged with its traceback, told without."""

    status = 500
    kind = SERVER_ERROR
    code = "internal_error"

    def __init__(self) -> None:
        super().__init__("The gateway could not process this request.")


def of_status(status: int, detail: Any) -> Refusal:
    """A refusal for what a framework raised: `status` and its words in our envelope."""
    refusal = Refusal(detail if isinstance(detail, str) else "The request is not valid.")
    refusal.status = status
    refusal.kind = INVALID_REQUEST if status < 500 else SERVER_ERROR
    return refusal
