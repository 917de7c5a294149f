"""Balance: which replica of an upstream takes a call.

Two rules. `least_loaded` draws two replicas and takes the one with fewer calls outstanding: the power of two choices, without
the herd that runs to a global minimum. `at_home` keeps a session on its replica, whose prefix cache it has warmed, and moves it
to its second home only while the first is busier by more than `slack` calls; rendezvous hashing gives both, so that a replica
that comes or goes moves only its own sessions.

Unavailable replicas are passed over, but never the last: where none is available all count as available, because a call that
fails tells more than one that was not made. Randomness is an argument. Must not know what makes a replica unavailable.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol, TypeVar


class Replica(Protocol):
    """What balancing reads of a replica: a name that stays, calls under way, whether its breaker lets calls through."""

    @property
    def name(self) -> str: ...

    @property
    def outstanding(self) -> int: ...

    @property
    def available(self) -> bool: ...


R = TypeVar("R", bound=Replica)


def least_loaded(replicas: Sequence[R], draw: float) -> R:
    """The less loaded of two that `draw`, uniform in [0, 1), picks among the available ones. `replicas` is not empty."""
    candidates = _available(replicas)
    count = len(candidates)
    if count == 1:
        return candidates[0]
    first, second = divmod(int(draw * count * (count - 1)), count - 1)
    second += second >= first
    return min(candidates[first], candidates[second], key=_load)


def at_home(replicas: Sequence[R], session: str, slack: int) -> R:
    """The home of `session` among the available ones, or its second home while the first has over `slack` more calls."""
    homes = sorted(_available(replicas), key=lambda replica: _closeness(replica.name, session), reverse=True)
    if len(homes) > 1 and homes[0].outstanding > homes[1].outstanding + slack:
        return homes[1]
    return homes[0]


def _available(replicas: Sequence[R]) -> Sequence[R]:
    return [replica for replica in replicas if replica.available] or replicas


def _load(replica: Replica) -> int:
    return replica.outstanding


def _closeness(name: str, session: str) -> bytes:
    return blake2b(f"{name}\0{session}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
