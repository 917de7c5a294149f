"""Gate: the student is within the margin *now*, on the traffic that it serves now.

Carried evidence says "not bad throughout"; this key says "not bad lately". It begins anew at every rung and after every
200 units, and counts only when 30 different users stand behind it.
"""

from __future__ import annotations

from scoring.gates.accounts import promotion_prior
from scoring.gates.state import FRESH_NEED
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View

NAME = "fresh"
MIN_KEYS = 30


def fresh(view: View) -> Finding:
    """PASS when the current block has reached 1/α_f and holds at least 30 distinct keys."""
    key = view.state.fresh
    evidence = key.account.evidence
    few = evidence.distinct_keys < MIN_KEYS
    return Finding(
        gate=NAME,
        verdict=Verdict.PASS if key.reached and not few else Verdict.INCONCLUSIVE,
        value=key.account.log_e(promotion_prior(view.epoch)),
        need=FRESH_NEED,
        n=evidence.distinct_keys if key.reached and few else evidence.units,
        template=_FEW if key.reached and few else _LAGGING[evidence.cell.direction.value],
    )


_FEW = f"fresh key: {{n}} of {MIN_KEYS} different users"
_LAGGING = {
    direction: f"fresh key: log E {{value:.2f}} of {{need:.2f}} over the {{n}} {direction} pairs of this block"
    for direction in ("forward", "reverse")
}
