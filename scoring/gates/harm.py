"""Gates: three e-Shiryaev-Roberts detectors of a student that has become worse than δ_r.

On average at least A pairs pass before a false alarm: `hold` freezes promotion (A = 100), `step_down` gives up one rung
(1,000), `roll_back` goes back to shadow (10,000). A hold that stands is lifted at 80, so that a statistic
that wavers about the level does not move the rollout with every pair.

Where slices climb apart each has detectors of its own, with A/ω for A: of all pairs
together at least A pass before a false alarm.
"""

from __future__ import annotations

from scoring.gates.state import leading_stream
from scoring.gates.verdict import Finding, Verdict, escaped
from scoring.gates.view import View

DETECTOR = "detector"
"""The hold's name on the rollout."""

A_HOLD = 100.0
A_RELEASE = 80.0
A_DOWN = 1_000.0
A_BACK = 10_000.0


def warm(view: View) -> Finding:
    """FAIL when the hold detector reaches 100, and until it has fallen below 80."""
    return _alarm(view, "hold", A_RELEASE if DETECTOR in view.rollout.holds else A_HOLD)


def step_down(view: View) -> Finding:
    """FAIL when the step-down detector reaches 1,000."""
    return _alarm(view, "down", A_DOWN)


def roll_back(view: View) -> Finding:
    """FAIL when the roll-back detector reaches 10,000."""
    return _alarm(view, "back", A_BACK)


def _alarm(view: View, detector: str, need: float) -> Finding:
    value, need = view.detectors[detector], need / view.epoch.weight
    leading = leading_stream(view.state, view.epoch, detector) if value >= need else "nothing"
    return Finding(
        gate=detector,
        verdict=Verdict.FAIL if value >= need else Verdict.PASS,
        value=value,
        need=need,
        n=0,
        template=f"{{gate}} detector at {{value:,.0f}}, alarm at {{need:,.0f}}, raised most by {escaped(leading)}",
    )
