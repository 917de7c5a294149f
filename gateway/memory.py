"""Memory: what bodies of requests and answers that wait or are kept occupy at this moment, and the one bound over all of them.

Each of them has a bound of its own (`limits.request_mb`, `limits.answer_mb`); times `limits.streams` that is more than machines
have. Who takes says so by adding, who lets go by subtracting. When it is full, new requests are refused, bodies that are still
arriving too, and answers are relayed without being kept.

What has gone to the spool's queue is `limits.spool_mb`'s. Copies that live for a moment are not counted.
"""

TIGHT = 0.8
"""Above this part of the bound what is optional is turned away."""


class Memory:
    """One process. For one event loop."""

    __slots__ = ("_tight_bytes", "limit_bytes", "taken_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.taken_bytes = 0
        self._tight_bytes = int(limit_bytes * TIGHT)

    @property
    def full(self) -> bool:
        return self.taken_bytes >= self.limit_bytes

    @property
    def tight(self) -> bool:
        return self.taken_bytes >= self._tight_bytes
