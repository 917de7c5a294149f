"""Gate: the student cannot pass. It has been shown, at 1/20, that E[d] ≥ −δ is false: retrain.

Where the last rungs ask for people's labels, E[h] ≥ −δ must hold as well, h the difference as people score it: a student whom
the judge likes and people do not would else be measured for ever. The two share the 1/20 alike. Labels alone are read here: what
the judge says of the other pairs saves labels, and a refusal can wait.

Non-binding: stopping early only lowers the probability of a wrong promotion.
"""

from __future__ import annotations

from math import log

from scoring.gates.metrics import futility_prior
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View
from scoring.stats.eprocess import log_e_of
from scoring.stats.ladder import log_threshold

NAME = "futility"
FUTILITY_NEED = log_threshold(0.05)


def futility(view: View) -> Finding:
    """FAIL when log E' of an opposed histogram reaches log 20; log 40 where there are two. The nearer one's finding."""
    if view.epoch.gates.label_bp is None:
        return _by_judge(view, FUTILITY_NEED)
    each = FUTILITY_NEED + log(2.0)
    return max(_by_judge(view, each), _by_people(view, each), key=lambda found: found.value)


def _by_judge(view: View, need: float) -> Finding:
    account, prior = view.state.overall, futility_prior(view.epoch)
    refuted = account.reaches_against(need, prior)
    return Finding(
        gate=NAME,
        verdict=Verdict.FAIL if refuted else Verdict.PASS,
        value=account.log_e_against(prior),
        need=need,
        n=account.evidence.units,
        template="cannot pass, retrain: log E' {value:.2f} of {need:.2f} over {n} forward pairs",
    )


def _by_people(view: View, need: float) -> Finding:
    labels = view.state.labels
    value = log_e_of(labels.opposed(), futility_prior(view.epoch))
    return Finding(
        gate=NAME,
        verdict=Verdict.FAIL if value >= need else Verdict.PASS,
        value=value,
        need=need,
        n=labels.n,
        template="cannot pass, retrain: log E' {value:.2f} of {need:.2f} over people's labels of {n} drawn pairs",
    )
