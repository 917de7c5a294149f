"""How much one user may weigh: of each 200 units that come, at most so many of one sticky key count.

Owns   `Block`: how many units have come in the current block of one direction, and how often each key was counted.
Knows not  what a unit says: which units count follows from the order of their keys alone, so no cap can be gamed by scores.

Units of one key are alike in ways that the e-process allows for, and a reader of its numbers does not expect: one busy
script must not promote a student. Evidence, the fresh key, labels and the comparison between users count so. Detectors of
pairs read every unit: harm to one user is harm, and where few users have all the traffic a cap would hide it for long.

A block ends with the 200th unit that comes, counted or not. One that ended with the 200th that counts would never end
where users are few: evidence would stop, and nobody would be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from router.types import Direction
from scoring.evidence import hash_of
from tutelage.contracts.decisions import Unit

BLOCK = 200


class Keyed(Protocol):
    """Something of a user."""

    @property
    def key(self) -> str: ...


K = TypeVar("K", bound=Keyed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`seen` units have come in this block; `keys` counts those that count, by the hash of the sticky key."""

    seen: int = 0
    keys: Mapping[int, int] = field(default_factory=dict)

    def counted(self, units: Sequence[K], most: int | None) -> tuple[Block, list[K]]:
        """The block after `units`, in order, and those of them that count: at most `most` of one key."""
        if most is None:
            return self, list(units)
        seen, keys, kept = self.seen, dict(self.keys), list[K]()
        for unit in units:
            if seen >= BLOCK:
                seen, keys = 0, {}
            seen += 1
            key = hash_of(unit.key)
            if keys.get(key, 0) < most:
                keys[key] = keys.get(key, 0) + 1
                kept.append(unit)
        return Block(seen=seen, keys=keys), kept


Blocks = Mapping[str, Block]
"""By direction, and by what is counted where that is not evidence."""


def capped(blocks: Blocks, units: Sequence[Unit], most: int | None, of: str = "") -> tuple[Blocks, list[Unit]]:
    """The units that may count, in their order: no more of one key than the epoch allows, in each direction. `of` names what
    is counted beside evidence.
    """
    if most is None:
        return blocks, list(units)
    following, kept = dict(blocks), set[int]()
    for direction in Direction:
        name, own = f"{of}{direction}", [unit for unit in units if unit.direction is direction]
        if own:
            following[name], counting = following.get(name, Block()).counted(own, most)
            kept |= {id(unit) for unit in counting}
    return following, [unit for unit in units if id(unit) in kept]
