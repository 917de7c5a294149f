"""The rules of others on the same data: how many pairs they take where they are right, how often they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.stats import t as student_t

from scoring.simulate import rules
from scoring.simulate.figures.efficiency import fixed_pairs
from scoring.simulate.figures.scale import MARGIN, Figures, Scale
from scoring.simulate.rows import Figure, ratio_row, reported_mean, reported_rate
from scoring.simulate.streams import generator, recorded
from scoring.stats import laws
from scoring.stats.bets import FloatArray, planning_prior
from scoring.stats.lattice import LATTICE
from scoring.stats.laws import Joint, Law
from scoring.stats.paths import IntArray, first_passages

ALPHA = 0.05
PAIRS = 8_000
"""Long enough that every rule has promoted an equal student."""

TUNED_TO = 5_000
"""N* of the asymptotic sequence, as an experimentation platform ships it."""

AGAINST_VILLE, AGAINST_SEQUENCE, AGAINST_BEST_ARM = 0.85, 0.50, 0.40
"""Our pairs over theirs, at most. The last two on rubric5; on the other laws they are reported."""


def equal_student(make: Callable[[float], Joint], scale: Scale) -> tuple[Figure, ...]:
    """Pairs to promotion at μ = 0, every rule on the same streams."""
    joint = make(0.0)
    teacher, student = joint.sample(generator(scale.seed, f"peers {joint.name}"), (scale.streams, PAIRS))
    d = student - teacher
    ours = _ours(np.rint(LATTICE * d).astype(np.int64), joint.difference())
    sequence = rules.asymptotic_sequence(d, margin=MARGIN, alpha=ALPHA, tuned_to=TUNED_TO)
    arms = rules.best_arm(teacher, student, margin=MARGIN, alpha=ALPHA)
    named = {
        "an asymptotic sequence": (sequence, AGAINST_SEQUENCE),
        "an unpaired best-arm rule": (arms, AGAINST_BEST_ARM),
    }
    figures: list[Figure] = [reported_mean("pairs, this gate", ours)]
    if rules.installed("ville"):
        theirs = rules.ville_betting(d, margin=MARGIN, alpha=ALPHA)
        figures += [reported_mean("pairs, ville", theirs), ratio_row("pairs over ville's", ours, theirs, AGAINST_VILLE)]
    for name, (theirs, goal) in named.items():
        figures.append(reported_mean(f"pairs, {name}", theirs))
        if joint.name == "rubric5":
            figures.append(ratio_row(f"pairs over {name}'s", ours, theirs, goal))
    return tuple(figures)


def at_the_margin(law: Law, scale: Scale) -> tuple[Figure, ...]:
    """How often each rule promotes a student at the margin within 8,000 looks: nothing is promised for others."""
    rng = generator(scale.seed, f"peers at the margin {law.name}")
    d_milli = law.sample(rng, (scale.streams, PAIRS))
    d = d_milli / LATTICE
    fixed = fixed_pairs(law.sigma, ALPHA)
    tuned = rules.asymptotic_sequence(d, margin=MARGIN, alpha=ALPHA, tuned_to=200)
    return (
        _rate("this gate", _ours(d_milli, law)),
        _rate("a t-test looked at after every pair", rules.peeked_t_test(d, margin=MARGIN, alpha=ALPHA)),
        _rate("an asymptotic sequence tuned to 200 pairs", tuned),
        _rate("a best-arm rule on pairs", rules.best_arm_of_pairs(d, margin=MARGIN, alpha=ALPHA)),
        _rate(
            "a best-arm rule on pairs, twice their variance",
            rules.best_arm_of_pairs(d, margin=MARGIN, alpha=ALPHA, unpaired=2.0),
        ),
        _rate(f"a t-test looked at once, after {fixed} pairs", _looked_at_once(d, fixed)),
    )


def arms_at_the_margin(make: Callable[[float], Joint], scale: Scale) -> tuple[Figure, ...]:
    """The same of the best-arm rule, which reads both arms."""
    joint = make(-MARGIN)
    rng = generator(scale.seed, f"arms at the margin {joint.name}")
    teacher, student = joint.sample(rng, (scale.streams, PAIRS))
    passed = rules.best_arm(teacher, student, margin=MARGIN, alpha=ALPHA)
    return (_rate("an unpaired best-arm rule", passed),)


def _ours(d_milli: IntArray, law: Law) -> IntArray:
    prior = planning_prior(null_mean=-MARGIN, sigma0=law.sigma)
    runs, pairs = d_milli.shape
    return first_passages(recorded(d_milli), runs=runs, horizon=pairs, prior=prior, alphas=(ALPHA,))[:, 0]


def _looked_at_once(d: FloatArray, pairs: int) -> IntArray:
    last = d[:, :pairs]
    statistic = (last.mean(axis=1) + MARGIN) * np.sqrt(pairs) / np.maximum(last.std(axis=1, ddof=1), 1e-12)
    return np.where(statistic >= student_t.isf(ALPHA, pairs - 1), pairs, 0)


def _rate(name: str, passed: IntArray) -> Figure:
    return reported_rate(f"false promotion, {name}", int((passed > 0).sum()), len(passed))


_MAKERS = {"rubric5": laws.rubric5_scores, "passfail": laws.passfail_scores, "weighted21": laws.weighted21_scores}

FIGURES: Figures = {
    **{f"{name}, equal student, same data": partial(equal_student, make) for name, make in _MAKERS.items()},
    **{
        f"{law.name} at the margin, same data": partial(at_the_margin, law)
        for law in (laws.rubric5(-MARGIN), laws.passfail(-MARGIN), laws.rare_catastrophe())
    },
    **{f"{name} at the margin, per arm": partial(arms_at_the_margin, make) for name, make in _MAKERS.items()},
}
