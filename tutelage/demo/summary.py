"""The summary: what a run came to, as numbers that others can check against the spools.

Counts come from the spools that the gateways wrote, not from the clients: a request counts when it is durable. Costs are
those of the route's own accounts (`scoring.economics`), as the admin plane shows them; an unknown one is null.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from router.types import Arm
from scoring.economics import JUDGE, RESCORE, REVERSE, SHADOW, STUDENT, TEACHER
from tutelage.capture.spooled import read_spooled
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.demo.watch import Reading
from tutelage.store import spool

BATCH = 1_000


@dataclass(slots=True)
class Counted:
    """What the spools hold: durable exchanges, shadow attempts, and who served."""

    exchanges: int = 0
    shadows: int = 0
    served: Counter[Arm] = field(default_factory=Counter)


def counted(data_dir: Path) -> Counted:
    """Count every spool under `data_dir`."""
    total = Counted()
    for record in _records(data_dir):
        if isinstance(record, Exchange):
            total.exchanges += 1
            if record.served_arm is not None:
                total.served[record.served_arm] += 1
        elif isinstance(record, ShadowAttempt):
            total.shadows += 1
    return total


def _records(data_dir: Path) -> Iterator[object]:
    for path in spool.spools(data_dir).values():
        position = 0
        while rows := spool.read_after(path, position, BATCH):
            yield from (read_spooled(row.body) for row in rows)
            position = rows[-1].sequence


def cost_usd(economics: Mapping[str, Any]) -> dict[str, float | None]:
    """Dollars: teacher and student as served, shadow (all calls beside them), judge, and what was saved after all of it."""

    def usd(*accounts: str) -> float | None:
        parts = [economics["accounts"][name]["usd"] for name in accounts]
        return None if None in parts else sum(parts)

    costs = {
        "teacher": usd(TEACHER),
        "student": usd(STUDENT),
        "shadow": usd(SHADOW, REVERSE, RESCORE),
        "judge": usd(JUDGE),
        "net_saving": economics["net_usd"],
    }
    return {name: None if value is None else round(value, 6) for name, value in costs.items()}


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
    *,
    last: Reading,
    tally_errors: int,
    total: Counted,
    economics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    **facts: Any,
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
        "cost_usd": cost_usd(economics),
        "calls_without_price": sum(account["unpriced"] for account in economics["accounts"].values()),
    }


def write(path: Path, summary: Mapping[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
