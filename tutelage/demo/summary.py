"""The summary: what a run came to, as numbers that others can check against the spools.

Counts and costs come from the spools that the gateways wrote, not from the clients: a request counts when it is durable.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from router.types import Arm
from tutelage.contracts.records import Attempt, Exchange, ShadowAttempt, decode_spooled
from tutelage.demo.watch import Reading
from tutelage.store import spool

BATCH = 1_000
NUSD = 1e-9


@dataclass(slots=True)
class Spent:
    """What the spools hold: durable exchanges, and nano-dollars by (arm, shadow or served)."""

    exchanges: int = 0
    shadows: int = 0
    served: Counter[Arm] = field(default_factory=Counter)
    nusd: Counter[tuple[Arm, str]] = field(default_factory=Counter)
    priced: Counter[Arm] = field(default_factory=Counter)
    unpriced: int = 0


def spent(data_dir: Path) -> Spent:
    """Add up every spool under `data_dir`."""
    total = Spent()
    for record in _records(data_dir):
        if isinstance(record, Exchange):
            total.exchanges += 1
            if record.served_arm is not None:
                total.served[record.served_arm] += 1
            for attempt in record.attempts:
                _price(total, attempt, "served")
        elif isinstance(record, ShadowAttempt):
            total.shadows += 1
            if record.attempt is not None:
                _price(total, record.attempt, "shadow")
    return total


def _price(total: Spent, attempt: Attempt, kind: str) -> None:
    if attempt.cost_nusd is None:
        total.unpriced += 1
        return
    total.nusd[attempt.arm, kind] += attempt.cost_nusd
    total.priced[attempt.arm] += 1


def _records(data_dir: Path) -> Iterator[object]:
    for path in spool.spools(data_dir).values():
        position = 0
        while rows := spool.read_after(path, position, BATCH):
            yield from (decode_spooled(row.body) for row in rows)
            position = rows[-1].sequence


def cost_usd(total: Spent) -> dict[str, float]:
    """Dollars: teacher and student as served, shadow (both directions), judge, and what was saved after all of it.

    The saving is what the teacher would have cost for what the student served, at the teacher's mean cost per answer.
    """
    teacher, student = total.nusd[Arm.TEACHER, "served"], total.nusd[Arm.STUDENT, "served"]
    shadow = total.nusd[Arm.TEACHER, "shadow"] + total.nusd[Arm.STUDENT, "shadow"]
    answers = total.priced[Arm.TEACHER]
    mean = (teacher + total.nusd[Arm.TEACHER, "shadow"]) / answers if answers else 0.0
    saved = mean * total.served[Arm.STUDENT] - student - shadow
    parts = {"teacher": teacher, "student": student, "shadow": shadow, "judge": 0, "net_saving": saved}
    return {name: round(value * NUSD, 6) for name, value in parts.items()}


def decision_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The route's decisions as the summary lists them, oldest first."""
    return [
        {
            "time": decision["at"],
            "event": decision["event"],
            "from_bp": decision["from_bp"],
            "to_bp": decision["to_bp"],
            "reason": decision["reason"],
            "log_e": next((cell["log_e"] for cell in decision["cells"]), None),
        }
        for decision in history
    ]


def summarise(
    *, last: Reading, tally_errors: int, total: Spent, history: Sequence[Mapping[str, Any]], **facts: Any
) -> dict[str, Any]:
    """The summary of a run. `facts` are added as they are (scenario, what was live, what was recorded, …)."""
    return {
        **facts,
        "requests": total.exchanges,
        "errors": tally_errors,
        "pairs": last.pairs,
        "scores": last.scores,
        "shadow_calls": total.shadows,
        "served": {arm.value: count for arm, count in sorted(total.served.items())},
        "decisions": decision_rows(history),
        "final_phase": last.phase,
        "final_share_bp": last.share_bp,
        "mean_d": last.mean_d,
        "cost_usd": cost_usd(total),
        "attempts_without_price": total.unpriced,
    }


def write(path: Path, summary: Mapping[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
