"""People's scores of drawn pairs, counted beside the judge's.

Owns   `Labels`: {(w, f, h): count} of labelled forward pairs, f as the judge scored them and h as a person did; which pairs
       people are asked about (`draws`).
Knows not  who labels and how pairs are shown; what the counts allow: `scoring.gates.anchored`.

Labelled pairs are drawn by a hash at a constant rate before anybody sees them: only then do they stand for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.split import sampled
from scoring.stats.lattice import LATTICE, floor_milli
from tutelage.contracts.decisions import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One labelled pair. `f` is None where the judge could not score it; `number` is the store's own rising one."""

    number: int
    epoch: str
    revision: int
    weight_milli: int
    f: float | None
    h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What has been counted, and up to which label the store was read."""

    position: int = 0
    counts: Mapping[tuple[int, int, int], int] = field(default_factory=dict)

    def after(self, labels: Sequence[Label], epoch: str, since: int) -> Labels:
        """The counts with those of `labels` that belong to this evidence."""
        counts = dict(self.counts)
        for label in labels:
            if label.epoch == epoch and label.revision >= since:
                f_milli = -LATTICE if label.f is None else floor_milli(label.f)
                key = (label.weight_milli, f_milli, floor_milli(label.h))
                counts[key] = counts.get(key, 0) + 1
        return Labels(position=max([self.position, *(label.number for label in labels)]), counts=counts)

    def restarted(self) -> Labels:
        return Labels(position=self.position)

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    @property
    def mean(self) -> float | None:
        """Mean h."""
        mass = sum(w * count for (w, _, _), count in self.counts.items())
        return sum(w * h * count for (w, _, h), count in self.counts.items()) / (mass * LATTICE) if mass else None


def draws(epoch: Epoch, pair_id: str) -> bool:
    """Whether a person is asked about this pair."""
    return epoch.gates.label_bp is not None and sampled(f"{epoch.id}/label", pair_id, "", epoch.gates.label_bp)
