"""The statistics of many rollouts at once, one array row each; and which rows are worth a look.

Owns   what `scoring.gates.state.fold` keeps for one rollout of the default gate, one pooled cell, as arrays over
       rollouts; `suspects`; `state_of`. Epochs that ask for more cells go through `walk`.
Knows not  what is decided: `suspects` only says where `decide` might answer with an event. It may name too many rows,
       never too few; a test compares it with looking after every pair.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from router.rollout import FUTILITY, Phase, Rollout
from router.types import FULL_BP, Direction
from scoring.evidence import POOLED, QUALITY, Cell, Evidence
from scoring.gates.accounts import Account
from scoring.gates.fresh import MIN_KEYS
from scoring.gates.futility import FUTILITY_NEED
from scoring.gates.harm import A_BACK, A_DOWN, A_HOLD, A_RELEASE, DETECTOR
from scoring.gates.labels import Labels
from scoring.gates.metrics import futility_prior, promotion_prior
from scoring.gates.order import Order
from scoring.gates.state import FRESH_BLOCK, FRESH_NEED, OVERALL, State
from scoring.gates.streams import DETECTORS, EITHER, Wiring, budget
from scoring.gates.view import thresholds
from scoring.stats import shiryaev_roberts
from scoring.stats.bets import FloatArray, Prior
from scoring.stats.eprocess import log_increment
from scoring.stats.lattice import FULL_WEIGHT, LATTICE
from tutelage.contracts.decisions import Epoch, GateRules, Unit

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_SLACK = 1e-6
_STREAMS = (Direction.FORWARD, Direction.REVERSE, EITHER)


class Lanes:
    """Arrays of shape (rollouts, …). `levels`: every d in thousandths that may come; pairs are indices into it."""

    def __init__(self, rollouts: list[Rollout], epoch: Epoch, wiring: Wiring, levels: IntArray) -> None:
        if epoch.gates != GateRules():
            raise ValueError(
                "lanes know one pooled cell; an epoch with more cells is simulated by `scoring.simulate.walk`"
            )
        rows, bets = len(rollouts), 16
        self.epoch, self.wiring, self.levels = epoch, wiring, levels
        self.promotion, self.futility = promotion_prior(epoch), futility_prior(epoch)
        self.gains = np.stack([log_increment(FULL_WEIGHT, int(d), -epoch.delta) for d in levels])
        opposed = [-min(int(d) + 1, LATTICE) for d in levels]
        self.losses = np.stack([log_increment(FULL_WEIGHT, d, epoch.delta) for d in opposed])
        self.factors = np.stack([shiryaev_roberts.factor(int(d), epoch.delta_r) for d in levels])
        self.weights = shiryaev_roberts.weights(epoch.delta_r)
        self.capital, self.against = np.zeros((rows, bets)), np.zeros((rows, bets))
        self.counts = np.zeros((rows, len(levels)), dtype=np.int64)
        self.fresh_capital = np.zeros((rows, bets))
        self.fresh_counts = np.zeros((rows, len(levels)), dtype=np.int64)
        self.fresh_n = np.zeros(rows, dtype=np.int64)
        self.detectors = np.zeros((rows, len(_STREAMS), len(DETECTORS), len(self.weights)))
        parts = budget(epoch, {}, wiring)
        self.budget = np.array([parts.get((direction, POOLED, QUALITY), 0.0) for direction in _STREAMS])
        self.share = np.zeros(rows)
        self.need, self.dwells_until = np.zeros(rows), np.zeros(rows)
        self.climbs, self.live = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
        self.hopeless, self.held = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
        for row, rollout in enumerate(rollouts):
            self.follow(row, rollout, rollout)

    def follow(self, row: int, before: Rollout, rollout: Rollout) -> None:
        """Take over what `rollout` says of its row, and restart what began anew. A run has one attempt and epoch."""
        if before.since.fresh != rollout.since.fresh:
            self._restart_fresh(np.array([row]))
        if before.since.down != rollout.since.down:
            self.detectors[row, :, DETECTORS.index("down")] = 0.0
        top = rollout.ladder.top
        needs = thresholds(rollout.ladder.shares_bp, self.epoch.alpha, rollout.alpha_index, self.epoch.weight)
        self.need[row] = needs[min(rollout.rung + 1, top)]
        self.dwells_until[row] = rollout.entered_at + self.epoch.dwell_s
        self.climbs[row] = rollout.phase in (Phase.SHADOW, Phase.RAMPING) and rollout.rung < top
        self.live[row] = rollout.rung > 0
        self.share[row] = rollout.share_in_force_bp / FULL_BP
        self.hopeless[row] = FUTILITY in rollout.holds
        self.held[row] = DETECTOR in rollout.holds

    def keep(self, rows: BoolArray) -> None:
        """Drop all rows but these."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and name in _BY_ROW:
                setattr(self, name, value[rows])

    def fold(self, level: IntArray, reverse: BoolArray | None) -> None:
        """One more pair in every row: its level, and whether the student served it (None: one undirected stream)."""
        every = np.arange(len(level))
        if reverse is None:
            self._evidence(every, level)
            self._fresh(every, level)
            self._watch(self.detectors[:, 0], self.factors[level])
            return
        forward, backward = np.flatnonzero(~reverse), np.flatnonzero(reverse)
        self._evidence(forward, level[forward])
        fresh = np.flatnonzero(reverse == self.live)
        self._fresh(fresh, level[fresh])
        for stream, rows in enumerate((forward, backward)):
            detectors = self.detectors[rows, stream]
            self._watch(detectors, self.factors[level[rows]])
            self.detectors[rows, stream] = detectors
        self._watch(self.detectors[:, _STREAMS.index(EITHER)], self.factors[level])

    def suspects(self, now: float) -> IntArray:
        """Rows in which `decide` may answer with an event."""
        hold, down, back = self.epoch.weight * self._alarms()
        harm = (back >= A_BACK - _SLACK) | (self.live & (down >= A_DOWN - _SLACK))
        hold_moves = np.where(self.held, hold < A_RELEASE + _SLACK, hold >= A_HOLD - _SLACK)
        hopeless = ~self.hopeless & _reaches(
            self.against, self.futility, np.full(len(hold), FUTILITY_NEED), ~self.hopeless
        )
        ready = self.climbs & (self.fresh_n >= MIN_KEYS) & (self.dwells_until <= now)
        ready = _reaches(self.fresh_capital, self.promotion, np.full(len(hold), FRESH_NEED), ready)
        climbs = _reaches(self.capital, self.promotion, self.need, ready)
        return np.flatnonzero(harm | hold_moves | hopeless | climbs)

    def state_of(self, row: int, rollout: Rollout) -> State:
        """The state of one row, as `fold` would have left it. Every pair is of another user."""
        live = bool(self.live[row]) and self.wiring is Wiring.DIRECTED
        streams = {
            (direction, POOLED, QUALITY): self.detectors[row, index].copy()
            for index, direction in enumerate(_STREAMS)
            if self.budget[index] > 0.0
        }
        return State(
            epoch=self.epoch.id,
            wiring=self.wiring,
            since=rollout.since,
            cells={
                OVERALL: Account(
                    evidence=self._counted(self.counts[row], Direction.FORWARD),
                    null_mean=-self.epoch.delta,
                    capital=self.capital[row].copy(),
                    against=self.against[row].copy(),
                )
            },
            fresh=Account(
                evidence=self._counted(self.fresh_counts[row], Direction.REVERSE if live else Direction.FORWARD),
                null_mean=-self.epoch.delta,
                capital=self.fresh_capital[row].copy(),
                against=np.zeros_like(self.against[row]),
            ),
            streams=streams,
            named={},
            baselines={},
            comparisons={},
            blocks={},
            traffic={},
            labels=Labels(),
            tallies={},
            entered=0,
            order=Order(),
        )

    def _evidence(self, rows: IntArray, level: IntArray) -> None:
        self.capital[rows] += self.gains[level]
        self.against[rows] += self.losses[level]
        self.counts[rows, level] += 1

    def _fresh(self, rows: IntArray, level: IntArray) -> None:
        self._restart_fresh(rows[self.fresh_n[rows] >= FRESH_BLOCK])
        self.fresh_capital[rows] += self.gains[level]
        self.fresh_counts[rows, level] += 1
        self.fresh_n[rows] += 1

    def _restart_fresh(self, rows: IntArray) -> None:
        self.fresh_capital[rows] = 0.0
        self.fresh_counts[rows] = 0
        self.fresh_n[rows] = 0

    def _watch(self, detectors: FloatArray, factors: FloatArray) -> None:
        detectors += 1.0
        detectors *= factors[:, None, :]
        np.minimum(detectors, shiryaev_roberts.CEILING, out=detectors)

    def _alarms(self) -> FloatArray:
        """Σρ·R, shape (detectors, rows)."""
        statistics: FloatArray = np.einsum("rsdk,s,k->dr", self.detectors, self.budget, self.weights)
        return statistics

    def _counted(self, counts: IntArray, direction: Direction) -> Evidence:
        total = int(counts.sum())
        return Evidence(
            cell=Cell(epoch=self.epoch.id, direction=direction),
            counts={(0, FULL_WEIGHT, int(self.levels[level])): int(counts[level]) for level in np.flatnonzero(counts)},
            units=total,
            keys=_sketch(min(total, FRESH_BLOCK)),
        )


_BY_ROW = frozenset(
    {
        *("capital", "against", "counts", "fresh_capital", "fresh_counts", "fresh_n", "detectors"),
        *("need", "dwells_until", "climbs", "live", "share", "hopeless", "held"),
    }
)
"""Everything that has one row per rollout."""


def _reaches(capital: FloatArray, prior: Prior, need: FloatArray, candidates: BoolArray) -> BoolArray:
    """Rows among `candidates` whose E, or all but a millionth of it, reaches exp(need)."""
    found = np.zeros(len(need), dtype=bool)
    rows = np.flatnonzero(candidates)
    rows = rows[capital[rows].max(axis=1) >= need[rows] - _SLACK]
    if len(rows):
        terms = capital[rows] + prior.log_weights
        top = terms.max(axis=1)
        found[rows] = top + np.log(np.exp(terms - top[:, None]).sum(axis=1)) >= need[rows] - _SLACK
    return found


@lru_cache(maxsize=512)
def _sketch(keys: int) -> tuple[int, ...]:
    """The sketch of so many different users."""
    names = [
        Unit(
            id="",
            route="",
            epoch="",
            direction=Direction.FORWARD,
            revision=0,
            key=f"user-{i}",
            d=0.0,
            first_at=0,
            last_at=0,
        )
        for i in range(keys)
    ]
    return Evidence(cell=Cell(epoch="", direction=Direction.FORWARD)).add_all(names).keys
