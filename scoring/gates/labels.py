"""People's scores of drawn pairs, counted beside the judge's.

Owns   `Labels`: {(w, f, h): count} of drawn forward pairs, f as the judge scored them and h as a person did; which pairs
       people are asked about (`draws`); which of them count, and as what.
Knows not  who labels and how pairs are shown; what the counts allow: `scoring.gates.anchored`.

Pairs are drawn by a hash at a constant rate before anybody sees them: only then do they stand for the others. Nobody may
choose among them afterwards, so drawn pairs count in the order in which they were folded, and under the same cap per user:

* The count ends at the first one that has no score. Whoever leaves it there has stopped, and may: the e-process is bounded
  at all its prefixes at once.
* One that had no score `label_within_s` after its admission counts as h = -1, for good. E rises in h, so that what stands
  there is at most what the score would have given, whatever it was. What gains from low scores reads it as 0 (`opposed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from router.split import sampled
from scoring.gates.caps import Block
from scoring.stats.lattice import LATTICE, Key, floor_milli, opposed
from tutelage.contracts.decisions import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A folded forward pair. `number` is its place in the order of folding; `key` its sticky key's. `f` is None where the
    judge could not score it, `h` where no person has until `due_at`."""

    number: int
    pair: str
    key: str
    epoch: str
    revision: int
    weight_milli: int
    f: float | None
    h: float | None
    due_at: float


class Awaited(msgspec.Struct, frozen=True, kw_only=True):
    """The drawn pair that the count waits for, and until when."""

    pair: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What has been counted, up to which folded pair; `unsaid` {(w, f): count} of it had no score in time. `block` is the
    cap's."""

    position: int = 0
    counts: dict[tuple[int, int, int], int] = field(default_factory=dict)
    unsaid: dict[tuple[int, int], int] = field(default_factory=dict)
    block: Block = field(default_factory=Block)
    awaited: Awaited | None = None

    def after(self, labels: Sequence[Label], epoch: Epoch, since: int, now: float) -> Labels:
        """The counts with those of `labels`, in their order, that belong to this evidence: up to the first that is drawn and
        still waited for."""
        counts, unsaid, block, position = dict(self.counts), dict(self.unsaid), self.block, self.position
        awaited: Awaited | None = None
        for label in labels:
            if label.epoch == epoch.id:
                following, counted = block.counted((label,), epoch.gates.max_units_per_key)
                if counted and label.revision >= since and draws(epoch, label.pair):
                    if label.h is None and now < label.due_at:
                        awaited = Awaited(pair=label.pair, until=label.due_at)
                        break
                    w, f, h = _read(label)
                    counts[w, f, h] = counts.get((w, f, h), 0) + 1
                    if label.h is None:
                        unsaid[w, f] = unsaid.get((w, f), 0) + 1
                block = following
            position = label.number
        return Labels(position=position, counts=counts, unsaid=unsaid, block=block, awaited=awaited)

    def restarted(self) -> Labels:
        return Labels(position=self.position)

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    @property
    def late(self) -> int:
        return sum(self.unsaid.values())

    def opposed(self) -> dict[Key, int]:
        """{(w, -h): count} as a test reads it that gains from low scores: h one step up, what nobody said as 0."""
        said: dict[Key, int] = {}
        for (w, f, h), count in self.counts.items():
            left = count - (self.unsaid.get((w, f), 0) if h == -LATTICE else 0)
            if left:
                said[w, h] = said.get((w, h), 0) + left
        mirror = opposed(said)
        for (w, _), count in self.unsaid.items():
            mirror[w, 0] = mirror.get((w, 0), 0) + count
        return mirror

    @property
    def mean(self) -> float | None:
        """Mean h."""
        mass = sum(w * count for (w, _, _), count in self.counts.items())
        return sum(w * h * count for (w, _, h), count in self.counts.items()) / (mass * LATTICE) if mass else None


def draws(epoch: Epoch, pair_id: str) -> bool:
    """Whether a person is asked about this pair."""
    return epoch.gates.label_bp is not None and sampled(f"{epoch.id}/label", pair_id, "", epoch.gates.label_bp)


def _read(label: Label) -> tuple[int, int, int]:
    """(w, f, h): the worst where nothing is known."""
    f, h = (-LATTICE if value is None else floor_milli(value) for value in (label.f, label.h))
    return label.weight_milli, f, h
