"""POST /v1/feedback: what a person says of an answer, named by its `x-tutelage-request-id`.

    {"request_id": "0196…", "kind": "thumb", "value": "up"}

| kind | value |
|---|---|
| `thumb` | `up` or `down` |
| `score` | a number in [0, 1] |
| `comment` | a text |
| `correction` | the right answer, as a text: the reference of this input for `label` criteria from then on |

Answered 202 as soon as it is in the spool's queue: whether the answer is the key's tenant's is control's to find out. To add a
kind: its line in `KINDS`.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from gateway.admission import require_json
from gateway.api.health import Answer
from gateway.client import Client
from gateway.errors import BadRequest, Forbidden
from gateway.front import Front
from gateway.quotas import Quota
from gateway.request import Request
from gateway.wire import require_object
from tutelage.contracts.records import Feedback, Json

PATH = "/v1/feedback"
MAX_BYTES = 512 * 1024
MAX_COMMENT_CHARS = 10_000
MAX_CORRECTION_CHARS = 100_000
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_FIELDS = ("request_id", "kind", "value")


async def taken(front: Front, feedback_id: str, request: Request) -> Answer:
    """Read it, check it, hand it to the spool. Raises the Refusal that the client must be told."""
    key = front.head_of(request.headers).key
    require_json(request.named)
    if not key.may_log:
        raise Forbidden("Nothing of this key's requests is kept, so there is nothing that feedback could be about.")
    client = Client(request)
    front.admission.enter(client)
    quota: Quota | None = None
    try:
        quota = front.quotas.enter(key)
        raw = await front.admission.read_within(request, MAX_BYTES)
        client.held_bytes = len(raw)
    finally:
        if quota is not None:
            quota.leave()
        front.admission.memory.taken_bytes -= client.held_bytes
        front.admission.leave(client)
    front.keep(read_feedback(raw, feedback_id=feedback_id, tenant=key.tenant, at=front.utc()))
    return 202, b"application/json", msgspec.json.encode({"id": feedback_id, "object": "feedback"})


def read_feedback(raw: bytes, *, feedback_id: str, tenant: str, at: float) -> Feedback:
    """The record. Raises BadRequest naming the field at fault."""
    said = require_object(raw)
    for name in said:
        if name not in _FIELDS:
            raise BadRequest(f"Unknown field {name[:64]!r}; there are {', '.join(_FIELDS)}.", param=name[:64])
    for name in _FIELDS:
        if name not in said:
            raise BadRequest(f"You must provide {name}.", param=name, code="missing_required_parameter")
    exchange_id, kind, value = (said[name] for name in _FIELDS)
    if not isinstance(exchange_id, str) or _ID.fullmatch(exchange_id) is None:
        raise BadRequest("Invalid 'request_id': expected an answer's x-tutelage-request-id.", param="request_id")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadRequest(f"Invalid 'kind': expected one of {', '.join(KINDS)}.", param="kind")
    expected, fits = KINDS[kind]
    if not fits(value):
        raise BadRequest(f"Invalid 'value' of a {kind}: expected {expected}.", param="value")
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()  # half a character, where a client has cut a text to length
    return Feedback(id=feedback_id, exchange_id=exchange_id, tenant=tenant, type=kind, value=value, at=at)


def _is_score(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_comment(value: Json) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_COMMENT_CHARS


def _is_correction(value: Json) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_CORRECTION_CHARS


KINDS: Mapping[str, tuple[str, Callable[[Json], bool]]] = {
    "thumb": ("up or down", lambda value: value in ("up", "down")),
    "score": ("a number from 0 to 1", _is_score),
    "comment": (f"a text of at most {MAX_COMMENT_CHARS:,} characters", _is_comment),
    "correction": (f"the right answer, a text of at most {MAX_CORRECTION_CHARS:,} characters", _is_correction),
}
