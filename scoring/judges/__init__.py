"""Judges: a model's opinion of both answers of a pair, one file each. `JUDGES` is the table of them.

Add a judge: a file with a class that keeps to `base.Judge`, and one line here. `POINTWISE` is the one that routes use.
"""

from collections.abc import Callable

from scoring.judges.base import Judge, JudgeSettled, JudgeUnavailable
from scoring.judges.client import GatewayClient
from scoring.judges.pointwise import PointwiseJudge

Observe = Callable[[str, str, float], None]
MakeJudge = Callable[[GatewayClient, JudgeSettled, Observe], Judge]

POINTWISE = "pointwise"
JUDGES: dict[str, MakeJudge] = {POINTWISE: PointwiseJudge}

__all__ = ["JUDGES", "POINTWISE", "GatewayClient", "Judge", "JudgeSettled", "JudgeUnavailable"]
