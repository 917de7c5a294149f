"""What every gate reads: the state caught up with its rollout, and the thresholds of the rung it stands on.

Owns   `View`, the thresholds log(1/α) per rung.
Knows not  verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from router.rollout import Rollout
from scoring.gates.facts import Facts
from scoring.gates.state import State, caught_up, detector_values
from scoring.stats.ladder import attempt_alpha, log_threshold, rung_alphas
from tutelage.contracts.decisions import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One look. `needs[k]` is the log E that standing on rung k asks for; 0 for shadow."""

    state: State
    rollout: Rollout
    epoch: Epoch
    facts: Facts
    now: float
    detectors: dict[str, float]
    needs: tuple[float, ...]

    @property
    def next_need(self) -> float:
        """What the next rung asks for; on the last rung, what that one asked for."""
        return self.needs[min(self.rollout.rung + 1, self.rollout.ladder.top)]


def look(state: State, rollout: Rollout, epoch: Epoch, facts: Facts, now: float) -> View:
    state = caught_up(state, rollout, epoch)
    return View(
        state=state,
        rollout=rollout,
        epoch=epoch,
        facts=facts,
        now=now,
        detectors=detector_values(state, epoch),
        needs=thresholds(rollout.ladder.shares_bp, epoch.alpha, rollout.alpha_index, epoch.weight),
    )


@lru_cache(maxsize=256)
def thresholds(shares_bp: tuple[int, ...], alpha: float, attempt: int, weight: float = 1.0) -> tuple[float, ...]:
    """log(1/α_k) per rung for the attempt's α_v: rung alphas times α_v/α, and times ω where a slice climbs apart.

    Of routes with Σω = 1, each of them no better than the margin, one or more ever stand on rung k with probability at most α_k.

    >>> [round(need, 2) for need in thresholds((0, 100, 500, 1000, 2500, 5000, 9000), 0.005, 1)]
    [0.0, 1.61, 2.41, 3.1, 4.02, 4.71, 5.3]
    """
    price = weight * attempt_alpha(alpha, attempt) / alpha
    return (0.0, *(log_threshold(price * a) for a in rung_alphas(shares_bp[1:], alpha=alpha)))
