"""Rollouts, epochs and units for tests of the gate."""

from typing import Any

from router.events import Begin
from router.rollout import Rollout, step
from router.stages import Ladder
from router.types import Direction, Mode
from scoring.simulate.plan import Plan, epoch_of
from scoring.stats.laws import Law, rubric5
from tutelage.contracts.decisions import Epoch, GateRules, Unit

STAGES_BP = (0, 1000, 9000)
LAW: Law = rubric5(0.0)


def epoch(**rules: Any) -> Epoch:
    """An epoch on stages 0, 10, 90 %; `rules` are `GateRules`."""
    bare = epoch_of(Plan(law=LAW, stages_bp=STAGES_BP))
    values = {name: getattr(bare, name) for name in bare.__struct_fields__}
    return Epoch(**(values | {"gates": GateRules(**rules)}))


def rollout() -> Rollout:
    """The rollout in shadow, just begun."""
    pending = Rollout(
        route="simulated",
        student="student@1",
        mode=Mode.GATED,
        ladder=Ladder(shares_bp=STAGES_BP),
        epoch="simulated",
        salt="simulated",
    )
    return step(pending, Begin(at=0.0, actor="test", reason="begin"))[0]


def unit(at: int, d: float | None = 0.0, **changes: Any) -> Unit:
    """The unit of one request of another user, admitted under revision 2."""
    values: dict[str, Any] = {
        "id": f"unit-{at:05}",
        "route": "simulated",
        "epoch": "simulated",
        "direction": Direction.FORWARD,
        "revision": 2,
        "key": f"user-{at}",
        "d": d,
        "first_at": float(at),
        "last_at": float(at),
        "metrics": {} if d is None else {"severe": float((d >= 0.5) - (d <= -0.5))},
    }
    return Unit(**(values | changes))
