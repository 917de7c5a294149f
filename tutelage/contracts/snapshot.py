"""The snapshot: all that a gateway needs to know, as of one sequence number.

It holds the published configuration (with the *names* of secrets), the rollouts, the sampling in force, the hashed
keys. A snapshot is what the store held after its `sequence`-th commit; it never changes. Gateways keep the last one in
memory and on disk (`data_dir/snapshot.json`), so that serving depends on nothing.
"""

import msgspec

from router.rollout import Rollout
from router.types import Sampling
from tutelage.contracts.decisions import Epoch
from tutelage.contracts.keys import Key
from tutelage.contracts.records import Json, Record

SNAPSHOT = "snapshot.json"
"""The file in `data_dir` that gateways keep the last one in."""


class PublishedConfig(Record, frozen=True, kw_only=True):
    """What control published: `settings` is `Settings.public()` (JSON, secrets by name), `digest` its SHA-256."""

    digest: str
    settings: Json
    published_at: float


class Snapshot(Record, frozen=True, kw_only=True):
    """`generation` rises when a store is rebuilt, `sequence` with every commit. The dictionaries are by route;
    `successors` are the epochs of students that are measured beside the serving ones."""

    generation: int
    sequence: int
    config: PublishedConfig
    rollouts: dict[str, Rollout]
    samplings: dict[str, Sampling]
    epochs: dict[str, Epoch]
    keys: tuple[Key, ...]
    successors: dict[str, Epoch] = msgspec.field(default_factory=dict)


_decoder: msgspec.json.Decoder[Snapshot] = msgspec.json.Decoder(Snapshot)


def decode_snapshot(body: bytes) -> Snapshot:
    """Raises msgspec.ValidationError when the bytes are not a snapshot of this version."""
    return _decoder.decode(body)
