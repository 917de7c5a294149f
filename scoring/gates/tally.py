"""How much of what was sampled came to a score, in each direction: the population of the missing rate.

Owns   `Tally`: turns counted in a direction, and those of them that have no score although a bad answer could be the reason.
Knows not  what never became a unit (`Facts.missing`), limits.

Turns are counted, not units, and those of capped users too: what is lost before it is judged is lost turn by turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.contracts.decisions import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The turns of one direction."""

    turns: int = 0
    unscored: int = 0


Tallies = Mapping[str, Tally]
"""By direction."""


def tallied(tallies: Tallies, units: Sequence[Unit], since: int) -> Tallies:
    """The tallies after those of `units` that were admitted under revision `since` or later."""
    following = dict(tallies)
    for unit in units:
        if unit.revision >= since:
            before = following.get(unit.direction.value, Tally())
            following[unit.direction.value] = Tally(
                turns=before.turns + unit.turns, unscored=before.unscored + unit.unscored
            )
    return following
