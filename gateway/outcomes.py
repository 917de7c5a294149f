"""Outcomes: how a request ended, in the words of records and metrics. Pure.

Must not know how it was asked or answered: it reads what `Serving` noted.
"""

from gateway.client import GONE, SHUTDOWN
from gateway.exchange import Serving

OK = "ok"
CANCELLED = "client_cancelled"
_CLASSES = tuple(f"{hundreds}xx" for hundreds in range(10))


def clients_fault(status: int) -> bool:
    """A 4xx that another arm would not cure: the request's own. 401 is about our key, 429 about our rate."""
    return 400 <= status < 500 and status not in (401, 429)


def outcome_of(serving: Serving) -> tuple[str, str | None]:
    """(outcome, cause) as records show them; no cause where all went well."""
    if serving.client_gone:
        return CANCELLED, GONE
    if serving.cut:
        return "truncated" if serving.truncated else "upstream_error", SHUTDOWN
    if serving.truncated:
        return "truncated", serving.cause or "internal"
    if serving.refusal is not None or serving.status == 0:
        last = serving.attempts[-1].error if serving.attempts else None
        refused = serving.refusal is not None and serving.refusal.status < 500
        return "client_error" if refused else "upstream_error", last or "internal"
    if serving.status >= 500 or serving.status in (401, 429) or (serving.status < 400 and serving.cause is not None):
        return "upstream_error", serving.cause
    return ("client_error", serving.cause) if serving.status >= 400 else (OK, None)


def class_of(serving: Serving) -> str:
    """The status that the client got, as metrics show it."""
    if serving.client_gone:
        return "gone"
    status = serving.status or (serving.refusal.status if serving.refusal is not None else 500)
    return _CLASSES[status // 100]
