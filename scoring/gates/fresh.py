"""Gate: the student is within the margin *now*, on the traffic that it serves now.

Carried evidence says "not bad throughout"; this key says "not bad lately". It begins anew at every rung and after every
200 units, and counts only when 30 different users stand behind it. It is read as it stands, not as high as it once
stood: a student that has just become worse loses it with its next pairs.
"""

from __future__ import annotations

from scoring.gates.metrics import promotion_prior
from scoring.gates.state import FRESH_NEED
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View

NAME = "fresh"
MIN_KEYS = 30


def fresh(view: View) -> Finding:
    """PASS when the current block stands at 1/α_f or more and holds at least 30 distinct keys."""
    key, prior = view.state.fresh, promotion_prior(view.epoch)
    evidence, reached = key.evidence, key.reaches(FRESH_NEED, prior)
    users = evidence.distinct_keys
    few = users < MIN_KEYS
    return Finding(
        gate=NAME,
        verdict=Verdict.PASS if reached and not few else Verdict.INCONCLUSIVE,
        value=key.log_e(prior),
        need=FRESH_NEED,
        n=evidence.units,
        template=_template(evidence.cell.direction.value, users if few else None),
    )


def _template(direction: str, few: int | None) -> str:
    """`few` users in a block of which much is over are all that there are: no evidence of theirs opens this gate."""
    users = "" if few is None else f", of {few} different users where {MIN_KEYS} are needed"
    return f"fresh key: log E {{value:.2f}} of {{need:.2f}} over the {{n}} {direction} pairs of this block{users}"
