"""Gate: the last two rungs need people's labels beside the judge's scores, where the epoch asks for them.

A judge may be biased in ways that no number of its own scores shows. Its scores of all pairs and people's of some must say
together that the student is within the margin (`scoring.stats.ppi`, offset test): the judge's bias costs labels, never
validity. The priors are functions of the epoch alone.
"""

from __future__ import annotations

import math

from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View
from scoring.stats.ppi import Anchor, offset_log_e, planned_anchor
from tutelage.contracts.decisions import Epoch

NAME = "labels"
RUNGS = 2
"""The last so many rungs ask for labels."""
RESIDUAL = 0.5
"""The standard deviation that h − ηf is planned to have, over σ0."""


def anchored(view: View) -> tuple[Finding, ...]:
    """PASS when judge and people together reach 1/α_{k+1}; nothing where the next rung asks for no labels."""
    if not is_asked(view):
        return ()
    value, labels = log_e_of(view), view.state.labels
    unsaid = f", {labels.late} of them not labelled in time" if labels.late else ""
    return (
        Finding(
            gate=NAME,
            verdict=Verdict.PASS if value >= view.next_need else Verdict.INCONCLUSIVE,
            value=value,
            need=view.next_need,
            n=labels.n,
            template=f"people's labels: log E {{value:.2f}} of {{need:.2f}} over {{n}} drawn pairs{unsaid}",
        ),
    )


def is_asked(view: View) -> bool:
    """Whether the next rung needs labels."""
    return view.epoch.gates.label_bp is not None and view.rollout.rung + 1 > view.rollout.ladder.top - RUNGS


def log_e_of(view: View) -> float:
    """log E of judge and people together, at the next rung's level."""
    judged = view.state.overall.evidence.promotion()
    return offset_log_e(judged, view.state.labels.counts, _anchor(view.epoch), alpha=math.exp(-view.next_need))


def _anchor(epoch: Epoch) -> Anchor:
    return planned_anchor(delta=epoch.delta, sigma_judged=epoch.sigma0, sigma_residual=RESIDUAL * epoch.sigma0)
