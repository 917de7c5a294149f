"""Gate: the student cannot pass. It has been shown, at 1/20, that E[d] ≥ −δ is false: retrain.

Non-binding: stopping early only lowers the probability of a wrong promotion.
"""

from __future__ import annotations

from scoring.gates.metrics import futility_prior
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View
from scoring.stats.ladder import log_threshold

NAME = "futility"
FUTILITY_NEED = log_threshold(0.05)


def futility(view: View) -> Finding:
    """FAIL when log E' of the opposed histogram reaches log 20."""
    account, prior = view.state.overall, futility_prior(view.epoch)
    refuted = account.reaches_against(FUTILITY_NEED, prior)
    return Finding(
        gate=NAME,
        verdict=Verdict.FAIL if refuted else Verdict.PASS,
        value=account.log_e_against(prior),
        need=FUTILITY_NEED,
        n=account.evidence.units,
        template="cannot pass, retrain: log E' {value:.2f} of {need:.2f} over {n} forward pairs",
    )
