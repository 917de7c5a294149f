"""Gate: the pooled forward quality cell has shown, at the next rung's level, that the student is within the margin."""

from __future__ import annotations

from scoring.gates.accounts import promotion_prior
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View

NAME = "quality"


def quality(view: View) -> Finding:
    """PASS when log E ≥ log(1/α_{k+1})."""
    account, prior = view.state.evidence, promotion_prior(view.epoch)
    passed = account.reaches(view.next_need, prior)
    return Finding(
        gate=NAME,
        verdict=Verdict.PASS if passed else Verdict.INCONCLUSIVE,
        value=account.log_e(prior),
        need=view.next_need,
        n=account.evidence.units,
        template="evidence: log E {value:.2f} of {need:.2f} over {n} forward pairs",
    )


def earns_its_rung(view: View) -> bool:
    """Whether the evidence reaches the rung on which the rollout already stands: what lifts the `epoch` hold."""
    return view.state.evidence.reaches(view.needs[view.rollout.rung], promotion_prior(view.epoch))
