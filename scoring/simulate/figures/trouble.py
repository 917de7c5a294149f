"""What goes wrong in practice: judges that fail on bad answers, turns that depend on each other, a judge that flatters."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.rows import Figure, rate_row, reported_rate
from scoring.simulate.streams import generator, recorded, steady
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.eprocess import log_e_of
from scoring.stats.lattice import LATTICE
from scoring.stats.laws import Law
from scoring.stats.paths import Draw, IntArray, first_passages
from scoring.stats.ppi import offset_log_e, planned_anchor

ALPHA = 0.05
FAILING = 0.034
"""Share of all pairs on which the judge fails; every one of them a bad answer of the student."""

TURNS, ICC = 5, 0.33
CONVERSATIONS = 600

LABELS, LABEL_EVERY, LOOK_EVERY = 300, 10, 10
"""Labels of a run; judged pairs per label; labels between looks."""

BIAS_MILLI = np.array([-250, 0, 250])
BIAS = np.array([0.10, 0.60, 0.30])
"""The judge's error: +.05 on average."""


def failing_judge(scale: Scale) -> tuple[Figure, ...]:
    """A student at the margin, and a judge that fails on 3.4 % of the pairs, only bad ones: entered as −1, or dropped."""
    law = laws.rubric5(-MARGIN)
    prior = planning_prior(null_mean=-MARGIN, sigma0=law.sigma)
    rate = FAILING / float(law.probability[law.d_milli < 0].sum())
    rng = generator(scale.seed, "failing judge")

    def worst_case(runs: IntArray, start: int, pairs: int) -> IntArray:
        d_milli = law.sample(rng, (len(runs), pairs))
        fails = (d_milli < 0) & (rng.random(d_milli.shape) < rate)
        return np.where(fails, -LATTICE, d_milli)

    survivors = law.probability * np.where(law.d_milli < 0, 1.0 - rate, 1.0)
    dropped = Law(name="survivors", d_milli=law.d_milli, probability=survivors / survivors.sum())
    return (
        _claim("false promotion, failures entered as -1", worst_case, law.sigma, scale),
        _reported(
            "false promotion, failures dropped",
            first_passages(steady(dropped, rng), runs=scale.means, horizon=scale.looks, prior=prior, alphas=(ALPHA,)),
        ),
    )


def dependent_turns(scale: Scale) -> tuple[Figure, ...]:
    """Conversations of five turns with intraclass correlation .33 at the margin: counted whole, or turn by turn."""
    law, turn = laws.clustered(-MARGIN, turns=TURNS, icc=ICC), laws.rubric5(-MARGIN)
    rng = generator(scale.seed, "dependent turns")
    shared = turn.sample(rng, (scale.means, CONVERSATIONS, 1))
    own = turn.sample(rng, (scale.means, CONVERSATIONS, TURNS))
    turns = np.where(rng.random(own.shape) < math.sqrt(ICC), shared, own).reshape(scale.means, -1)
    prior = planning_prior(null_mean=-MARGIN, sigma0=turn.sigma)
    return (
        _claim("false promotion, a conversation is one unit", steady(law, rng), law.sigma, scale),
        _reported(
            "false promotion, a turn is one unit",
            first_passages(recorded(turns), runs=scale.means, horizon=turns.shape[1], prior=prior, alphas=(ALPHA,)),
        ),
    )


def flattering_judge(scale: Scale) -> tuple[Figure, ...]:
    """A student at the margin by human labels, whom the judge finds equal: with the human anchor, and without."""
    rng = generator(scale.seed, "flattering judge")
    law = laws.rubric5(-MARGIN)
    anchored = alone = 0
    for _ in range(scale.streams):
        h = law.sample(rng, LABELS * LABEL_EVERY)
        f = np.clip(h + rng.choice(BIAS_MILLI, size=len(h), p=BIAS), -LATTICE, LATTICE)
        with_anchor, without = _promotions(f, h)
        anchored, alone = anchored + with_anchor, alone + without
    return (
        rate_row("false promotion, judge and human anchor", anchored, scale.streams, ALPHA),
        reported_rate("false promotion, the judge alone", alone, scale.streams),
    )


def _promotions(f: IntArray, h: IntArray) -> tuple[int, int]:
    """Whether (with the anchor, by the judge alone) one stream is promoted; every tenth pair is labelled."""
    anchor = planned_anchor(delta=MARGIN, sigma_judged=0.30, sigma_residual=0.20)
    prior = planning_prior(null_mean=-MARGIN, sigma0=0.30)
    need = -math.log(ALPHA)
    judged: Counter[tuple[int, int]] = Counter()
    labelled: Counter[tuple[int, int, int]] = Counter()
    with_anchor = alone = 0
    block = LABEL_EVERY * LOOK_EVERY
    for begun in range(0, len(f), block):
        pairs = list(zip(f[begun : begun + block].tolist(), h[begun : begun + block].tolist(), strict=True))
        judged.update((LATTICE, a) for a, _ in pairs)
        labelled.update((LATTICE, a, b) for a, b in pairs[::LABEL_EVERY])
        with_anchor = with_anchor or int(offset_log_e(judged, labelled, anchor, alpha=ALPHA) >= need)
        alone = alone or int(log_e_of(judged, prior) >= need)
    return with_anchor, alone


def _claim(name: str, draw: Draw, sigma0: float, scale: Scale) -> Figure:
    prior = planning_prior(null_mean=-MARGIN, sigma0=sigma0)
    runs = min(scale.boundary, scale.means)
    passed = first_passages(draw, runs=runs, horizon=scale.looks, prior=prior, alphas=(ALPHA,))
    return rate_row(name, int((passed > 0).sum()), runs, ALPHA)


def _reported(name: str, passed: IntArray) -> Figure:
    return reported_rate(name, int((passed > 0).sum()), len(passed))


FIGURES: Figures = {
    "a judge that fails on bad answers": failing_judge,
    "turns at ICC 0.33": dependent_turns,
    "a judge that flatters by 0.05": flattering_judge,
}
