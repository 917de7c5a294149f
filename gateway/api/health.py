"""/livez, /readyz and /metrics: for orchestrators and Prometheus, without a key."""

from typing import Any

import msgspec

from gateway.front import Front

Answer = tuple[int, bytes, bytes]
"""Status, content type, body."""

_JSON = b"application/json"


def livez(front: Front) -> Answer:
    """The event loop answers: that is all."""
    return 200, _JSON, b'{"status":"ok"}'


def readyz(front: Front) -> Answer:
    """503 while no key is known, and from the first moment of a drain."""
    routing = front.routing
    state: dict[str, Any] = {
        "status": "ready" if front.ready else "draining" if front.admission.draining else "starting",
        "snapshot": routing.sequence,
        "generation": routing.generation,
        "source": routing.source,
        "open": front.admission.open,
    }
    return 200 if front.ready else 503, _JSON, msgspec.json.encode(state)


def metrics(front: Front) -> Answer:
    """Prometheus' text format."""
    return 200, b"text/plain; version=0.0.4; charset=utf-8", front.metrics.text()
