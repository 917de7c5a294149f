"""What goes wrong in practice: judges that fail on bad answers, turns that depend on each other, a judge that flatters."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.rows import Figure, rate_row, reported_mean, reported_rate
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

MANY_LABELS, PAIRS_PER_LABEL = 1_000, 50
"""Where labels are counted: a run's most, and judged pairs to each."""

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


def label_saving(scale: Scale) -> tuple[Figure, ...]:
    """Labels until an equal student passes, fifty judged pairs to a label: with the flattering judge, and labels alone."""
    rng = generator(scale.seed, "label saving")
    law = laws.rubric5(0.0)
    found = []
    for _ in range(max(scale.streams // 10, 10)):
        h = law.sample(rng, MANY_LABELS * PAIRS_PER_LABEL)
        f = np.clip(h + rng.choice(BIAS_MILLI, size=len(h), p=BIAS), -LATTICE, LATTICE)
        found.append(_labels_needed(f, h, law.sigma))
    with_judge, alone = np.array(found).T
    return (
        reported_mean("labels, judge and human anchor", with_judge),
        reported_mean("labels, labels alone", alone),
    )


def _labels_needed(f: IntArray, h: IntArray, sigma: float) -> tuple[int, int]:
    """Labels until (anchor, labels alone) pass, looked at after every tenth; all of them where they do not."""
    anchor = planned_anchor(delta=MARGIN, sigma_judged=0.30, sigma_residual=0.20)
    prior = planning_prior(null_mean=-MARGIN, sigma0=sigma)
    need = -math.log(ALPHA)
    judged: Counter[tuple[int, int]] = Counter()
    labelled: Counter[tuple[int, int, int]] = Counter()
    plain: Counter[tuple[int, int]] = Counter()
    passed = [0, 0]
    for labels in range(LOOK_EVERY, MANY_LABELS + 1, LOOK_EVERY):
        block = slice((labels - LOOK_EVERY) * PAIRS_PER_LABEL, labels * PAIRS_PER_LABEL)
        judged.update((LATTICE, a) for a in f[block].tolist())
        shown = list(zip(f[block][::PAIRS_PER_LABEL].tolist(), h[block][::PAIRS_PER_LABEL].tolist(), strict=True))
        labelled.update((LATTICE, a, b) for a, b in shown)
        plain.update((LATTICE, b) for _, b in shown)
        found = (offset_log_e(judged, labelled, anchor, alpha=ALPHA), log_e_of(plain, prior))
        passed = [before or (labels if log_e >= need else 0) for before, log_e in zip(passed, found, strict=True)]
        if all(passed):
            break
    return passed[0] or MANY_LABELS, passed[1] or MANY_LABELS


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
    "labels beside a judge that flatters": label_saving,
}
