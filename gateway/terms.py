"""Terms: what the lines of a head ask for on the route that the body names. Pure.

Route, key and request are combined, and the strictest wins; what this key may not ask for is refused. Must not know bodies. To
read another header: a function, its field in `Terms`, and its name in `TERMS`.
"""

from collections.abc import Mapping

import msgspec

from gateway.errors import BadRequest, Forbidden
from gateway.routing import PASSTHROUGH, Route
from gateway.upstreams.base import Headers
from router.types import Arm
from tutelage.capture.raw import RawPolicy
from tutelage.contracts.keys import Key

MAX_SLICE_CHARS = 64
_LEVELS = ("off", "metadata", "full")
_ARM, _LOG, _TRAIN = b"x-tutelage-arm", b"x-tutelage-log", b"x-tutelage-train"
TERMS = frozenset({_ARM, _LOG, _TRAIN})
"""What is read here, beside the headers that a route's slices name."""

Named = Mapping[bytes, bytes]
"""The first value of each header."""


class Terms(msgspec.Struct, frozen=True):
    """`route` is the part that the request is in."""

    route: Route
    slices: dict[str, str]
    pinned: Arm | None
    policy: RawPolicy


def terms_of(headers: Headers, key: Key, whole: Route) -> Terms:
    """Raises Forbidden and BadRequest."""
    named = dict(reversed(headers))
    slices = _slices(named, whole)
    route = whole.part(slices)
    return Terms(route, slices, _pinned(named, key, route), _policy(named, headers, key, route))


def _pinned(named: Named, key: Key, route: Route) -> Arm | None:
    value = named.get(_ARM)
    if value is None:
        return None
    if not key.may_pin:
        raise Forbidden("This key may not choose an arm: x-tutelage-arm needs a key made with --may-pin.")
    try:
        arm = Arm(value.decode("latin-1").strip().lower())
    except ValueError:
        raise BadRequest("x-tutelage-arm must be teacher or student.", code="invalid_header") from None
    if arm is Arm.STUDENT and route.name == PASSTHROUGH:
        raise BadRequest("What is passed through has one arm: leave x-tutelage-arm out.", code="no_student")
    if arm is Arm.STUDENT and route.student is None:
        raise BadRequest(f"The model {route.name!r} has no student to choose.", code="no_student")
    return arm


def _policy(named: Named, headers: Headers, key: Key, route: Route) -> RawPolicy:
    """Route, key and request combined: the strictest wins."""
    level = _LEVELS.index(route.capture.log if key.may_log else "off")
    if _LOG in named:
        level = min(level, _asked_level(headers))
    train = named.get(_TRAIN)
    if train is not None and train.strip().lower() != b"deny":
        raise BadRequest("x-tutelage-train knows one value: deny.", code="invalid_header")
    return RawPolicy(
        log=_LEVELS[level],
        train=key.may_train and train is None,
        purpose=route.capture.purpose,
        redact=route.capture.redact,
    )


def _asked_level(headers: Headers) -> int:
    """The strictest of what the client asks for, however many lines it takes for that."""
    lines = [value.decode("latin-1") for name, value in headers if name == _LOG]
    wanted = [each.strip().lower() for line in lines for each in line.split(",")]
    if not all(each in _LEVELS for each in wanted):
        raise BadRequest("x-tutelage-log must be off, metadata or full.", code="invalid_header")
    return min(map(_LEVELS.index, wanted))


def _slices(named: Named, route: Route) -> dict[str, str]:
    """Bounded: a slice's value becomes a name in evidence."""
    found: dict[str, str] = {}
    for name, source in route.slices:
        value = named.get(source.encode("latin-1"))
        if value is not None and value.strip():
            found[name] = value.decode("latin-1").strip()[:MAX_SLICE_CHARS]
    return found
