"""What is tested in each cell: the mean that must be refuted, and the alternative that the bets are planned for.

Owns   the table of metrics (`METRICS`): which are asked for, against which null mean; each cell's prior.
Knows not  counts, thresholds.
To add a metric: one line in `METRICS`, its worst value in `scoring.evidence.WORST_MILLI`, what a turn measures in
`tutelage.control.units`, its rows in docs/RECORDS.md and, where it can be set, docs/CONFIGURATION.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from scoring.evidence import DISAGREEMENT, FLOOR, POOLED, QUALITY, SEVERE
from scoring.stats.bets import Prior, planning_prior
from tutelage.contracts.decisions import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """H0: the mean is at most `null_mean`. `mean0` is where a student is planned to be that should pass."""

    null_mean: float
    mean0: float = 0.0


def _margin(margin: float | None, mean0: float = 0.0) -> Target | None:
    return None if margin is None else Target(null_mean=-margin, mean0=mean0)


def _floor(epoch: Epoch) -> Target | None:
    least = epoch.gates.floor
    return None if least is None else Target(null_mean=least, mean0=(1.0 + least) / 2)


def _disagreement(epoch: Epoch) -> Target | None:
    """Agreement cannot exceed the teacher's with itself: a student at half the margin is planned for."""
    margin = epoch.gates.disagreement
    return None if margin is None else _margin(margin, -margin / 2)


METRICS: Mapping[str, Callable[[Epoch], Target | None]] = {
    QUALITY: lambda epoch: _margin(epoch.delta),
    SEVERE: lambda epoch: _margin(epoch.gates.severe),
    FLOOR: _floor,
    DISAGREEMENT: _disagreement,
}
"""Of all units together; None where the epoch does not ask for it. Slices are tested for quality alone."""


def target(epoch: Epoch, place: tuple[str, str]) -> Target:
    """What the cell at `place`, (slice, metric), is tested against. Raises ValueError where the epoch has no such cell."""
    where, metric = place
    found = METRICS[metric](epoch) if where == POOLED else Target(null_mean=-epoch.gates.slice_margin)
    if found is None:
        raise ValueError(f"epoch {epoch.id!r} asks for no cell {where}/{metric}")
    return found


def pooled_metrics(epoch: Epoch) -> tuple[str, ...]:
    """The metrics that are asked for of all units together, overall quality first."""
    return tuple(name for name, asked in METRICS.items() if asked(epoch) is not None)


def promotion_prior(epoch: Epoch, place: tuple[str, str] = (POOLED, QUALITY)) -> Prior:
    """The prior of the bets against the null mean of the cell at `place`."""
    tested = target(epoch, place)
    return _prior(tested.null_mean, tested.mean0, epoch.sigma0)


def futility_prior(epoch: Epoch) -> Prior:
    """The prior of the bets against "not worse than the margin": planned for a student at twice the margin."""
    return _prior(epoch.delta, min(2.0 * epoch.delta, (1.0 + epoch.delta) / 2), epoch.sigma0)


@lru_cache(maxsize=256)
def _prior(null_mean: float, mean0: float, sigma0: float) -> Prior:
    return planning_prior(null_mean=null_mean, mean0=mean0, sigma0=sigma0)
