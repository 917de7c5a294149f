"""What is simulated: a student's score law, the ladder and margins it is measured by, a change on the way.

Owns   `Plan`, the epoch and the rollout that it begins with.
Knows not  statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from router.events import Begin
from router.rollout import Rollout, step
from router.stages import Ladder
from router.types import Mode
from scoring.gates.streams import Wiring
from scoring.stats import laws
from scoring.stats.laws import Law
from tutelage.contracts.decisions import Epoch, GateRules

STAGES_BP = (0, 100, 500, 1000, 2500, 5000, 9000)

LAWS: Mapping[str, Callable[[float], Law]] = {
    "rubric5": laws.rubric5,
    "passfail": laws.passfail,
    "weighted21": laws.weighted21,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One simulated rollout. The clock ticks once per request; a request is a pair where it is sampled.

    `law` is of pairs that the teacher serves, `reverse` of those that the student serves where it is another. `after`
    replaces both from request `change_at` on. `dwell` is in requests. UNDIRECTED: one stream feeds evidence,
    fresh key and detectors, so requests are pairs. DIRECTED: the share decides who serves; every request is sampled.
    `weight` is what a slice that climbs apart has of the error rates.
    """

    law: Law
    horizon: int = 6_000
    reverse: Law | None = None
    after: Law | None = None
    change_at: int = 0
    wiring: Wiring = Wiring.UNDIRECTED
    stages_bp: tuple[int, ...] = STAGES_BP
    delta: float = 0.05
    delta_r: float = 0.05
    alpha: float = 0.005
    sigma0: float = 0.30
    dwell: float = 0.0
    gates: GateRules = field(default_factory=GateRules)
    weight: float = 1.0


def epoch_of(plan: Plan) -> Epoch:
    return Epoch(
        id="simulated",
        route="simulated",
        student="student@1",
        teacher="teacher@1",
        rubric="rubric@1",
        judge=None,
        judge_prompt_hash=None,
        system_prompt_version=None,
        delta=plan.delta,
        delta_r=plan.delta_r,
        alpha=plan.alpha,
        sigma0=plan.sigma0,
        sigma0_source="plan",
        stages_bp=plan.stages_bp,
        dwell_s=plan.dwell,
        approval="none",
        trained_until=None,
        unit="request",
        opened_at=0.0,
        gates=plan.gates,
        weight=plan.weight,
    )


def rollout_of(plan: Plan) -> Rollout:
    """The rollout in shadow, just begun."""
    pending = Rollout(
        route="simulated",
        student="student@1",
        mode=Mode.GATED,
        ladder=Ladder(shares_bp=plan.stages_bp),
        epoch="simulated",
        salt="simulated",
    )
    return step(pending, Begin(at=0.0, actor="simulation", reason="begin"))[0]
