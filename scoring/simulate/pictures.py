"""The pictures beside the table: what the same streams do to different rules, and what the gate does to students.

Owns   three PNG files. Each is drawn from runs of its own, at the scale of the table's cheaper figures.
Knows not  goals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scoring.simulate import rules
from scoring.simulate.figures.scale import MARGIN, Scale
from scoring.simulate.plan import STAGES_BP, Plan
from scoring.simulate.runs import run_all
from scoring.simulate.streams import changing, generator, recorded
from scoring.stats import laws
from scoring.stats.bets import planning_prior
from scoring.stats.ladder import rung_alphas
from scoring.stats.lattice import LATTICE
from scoring.stats.laws import Law
from scoring.stats.paths import IntArray, alarm_times, first_passages

DPI = 110
ALPHA = 0.05
PAIRS = 4_000
MEANS = (0.02, 0.0, -0.01, -0.02, -0.03)
_GATE, _OTHERS = "tab:blue", ("tab:red", "tab:orange", "tab:purple", "tab:brown")


def draw(folder: Path, scale: Scale) -> tuple[Path, ...]:
    """Write the three pictures into `folder`."""
    pictures = {"figures-rules.png": _rules, "figures-gate.png": _gate, "figures-rollback.png": _rollback}
    return tuple(_drawn(folder / name, paint, scale) for name, paint in pictures.items())


def _drawn(path: Path, paint: Any, scale: Scale) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    paint(left, right, scale)
    for axes in (left, right):
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=DPI)
    return path


def _rules(left: Any, right: Any, scale: Scale) -> None:
    """Left: promotions of a student at the margin. Right: of one that equals its teacher."""
    law, rng = laws.rare_catastrophe(), generator(scale.seed, "picture of wrong promotions")
    d_milli = law.sample(rng, (scale.streams, PAIRS))
    d = d_milli / LATTICE
    wrong = {
        "this gate": _ours(d_milli, law),
        "t-test looked at after every pair": rules.peeked_t_test(d, margin=MARGIN, alpha=ALPHA),
        "asymptotic sequence tuned to 200": rules.asymptotic_sequence(d, margin=MARGIN, alpha=ALPHA, tuned_to=200),
    }
    _curves(left, wrong, "promoted wrongly: 6 % catastrophes, mean at the margin")
    left.axhline(ALPHA, color="black", ls=":", label="alpha")

    joint, rng = laws.rubric5_scores(0.0), generator(scale.seed, "picture of right promotions")
    teacher, student = joint.sample(rng, (scale.streams, PAIRS))
    d = student - teacher
    right_ones = {"this gate": _ours(np.rint(LATTICE * d).astype(np.int64), joint.difference())}
    if rules.installed("ville"):
        right_ones["ville, BettingTest"] = rules.ville_betting(d, margin=MARGIN, alpha=ALPHA)
    right_ones["asymptotic sequence, N* = 5,000"] = rules.asymptotic_sequence(
        d, margin=MARGIN, alpha=ALPHA, tuned_to=5_000
    )
    right_ones["unpaired best-arm rule"] = rules.best_arm(teacher, student, margin=MARGIN, alpha=ALPHA)
    _curves(right, right_ones, "promoted rightly: rubric scores, equal to its teacher")


def _gate(left: Any, right: Any, scale: Scale) -> None:
    """Left: when students reach the last rung. Right: how often one at the margin reaches each."""
    top = len(STAGES_BP) - 1
    for mean in MEANS:
        stories = run_all(Plan(law=laws.rubric5(mean)), runs=max(scale.rollouts // 4, 4), seed=scale.seed)
        arrived = np.array([story.reached.get(top, 0) for story in stories])
        _curve(left, arrived, f"true difference {mean:+.2f}", 6_000)
    left.set(xlabel="pairs", ylabel="on 90 %", title="reached the last rung")
    stories = run_all(Plan(law=laws.rubric5(-MARGIN)), runs=scale.rollouts, seed=scale.seed)
    rungs = np.arange(1, top + 1)
    found = [np.mean([rung in story.reached for story in stories]) for rung in rungs]
    right.bar(rungs - 0.2, 100 * np.array(found), 0.4, color=_GATE, label="measured")
    right.bar(
        rungs + 0.2, 100 * np.array(rung_alphas(STAGES_BP[1:], alpha=0.005)), 0.4, color="lightgray", label="allowed"
    )
    right.set(ylabel="% of rollouts", title="a student at the margin reaches", xticks=rungs)
    right.set_xticklabels([f"{STAGES_BP[rung] / 100:g} %" for rung in rungs])


def _rollback(left: Any, right: Any, scale: Scale) -> None:
    """Delay after a fall to −.10: by tolerance, and by age."""
    for delta_r in (0.05, 0.03):
        times = _delays(delta_r, 500, scale)
        for name, column in zip(("step-down", "back in shadow"), times.T, strict=True):
            _curve(left, column, f"{name}, delta_r {delta_r:g}", 800)
    left.set(xlabel="pairs after the fall", ylabel="alarmed", title="equal to its teacher, then -0.10", xlim=(0, 800))
    for good in (500, 10_000):
        _curve(right, _delays(MARGIN, good, scale)[:, 1], f"after {good:,} good pairs", 800)
    right.set(
        xlabel="pairs after the fall", ylabel="back in shadow", title="the delay does not grow with age", xlim=(0, 800)
    )


def _delays(delta_r: float, good_pairs: int, scale: Scale) -> IntArray:
    rng = generator(scale.seed, f"picture of delays {delta_r} {good_pairs}")
    draw_pairs = changing(laws.rubric5(0.0), laws.rubric5(-0.10), good_pairs, rng)
    return alarm_times(
        draw_pairs, runs=scale.streams, horizon=5_000, delta_r=delta_r, thresholds=(1e3, 1e4), watched_from=good_pairs
    )


def _ours(d_milli: IntArray, law: Law) -> IntArray:
    prior = planning_prior(null_mean=-MARGIN, sigma0=law.sigma)
    runs, pairs = d_milli.shape
    return first_passages(recorded(d_milli), runs=runs, horizon=pairs, prior=prior, alphas=(ALPHA,))[:, 0]


def _curves(axes: Any, passed: dict[str, IntArray], title: str) -> None:
    colours: Sequence[str] = (_GATE, *_OTHERS)
    for (name, times), colour in zip(passed.items(), colours, strict=False):
        _curve(axes, times, name, PAIRS, color=colour)
    axes.set(xlabel="pairs", ylabel="part of the runs", title=title, xscale="log", xlim=(10, PAIRS))


def _curve(axes: Any, times: IntArray, label: str, end: int, **style: Any) -> None:
    """The part of the runs that had passed, over pairs. 0 is never."""
    passed = np.sort(times[times > 0])
    steps = np.append(passed, max([end, *passed[-1:]]))
    axes.step(
        steps, np.append(np.arange(1, len(passed) + 1), len(passed)) / len(times), where="post", label=label, **style
    )
