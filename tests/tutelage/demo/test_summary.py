"""What a run came to: counted from what is durable, saved after everything that it cost."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from router.types import Arm
from tests.tutelage.control.made import NOW, ROUTE, attempt, exchange, settings, shadow
from tutelage.contracts.records import Spending, Spooled, encode
from tutelage.control.shown import economics_document
from tutelage.demo.summary import cost_usd, counted, decision_rows
from tutelage.store import spool

USD = 1_000_000_000


def spooled(data_dir: Path, gateway: str, records: Iterable[Spooled]) -> None:
    path = spool.spool_path(data_dir, gateway)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    spool.create(connection)
    connection.executemany(spool.INSERT, [(record.id, "any", "any", NOW, encode(record)) for record in records])
    connection.close()


def served(name: str, arm: Arm) -> Spooled:
    return exchange(name, arm, attempts=(attempt(arm),))


def test_every_spool_is_counted_once_by_the_arm_that_served(tmp_path: Path):
    spooled(
        tmp_path, "g1", [served("a", Arm.TEACHER), shadow("a", Arm.STUDENT, attempt=attempt(Arm.STUDENT, "shadow"))]
    )
    spooled(tmp_path, "g2", [served("b", Arm.STUDENT)])
    total = counted(tmp_path)
    assert (total.exchanges, total.shadows) == (2, 1)
    assert total.served == {Arm.TEACHER: 1, Arm.STUDENT: 1}


def charged(account: str, calls: int, usd: int, unpriced: int = 0) -> Spending:
    return Spending(route=ROUTE, day=20_000, account=account, calls=calls, unpriced=unpriced, nusd=usd * USD)


ACCOUNTS = (
    charged("teacher", 2, 16),
    charged("student", 4, 4),
    charged("shadow", 1, 1),
    charged("reverse", 1, 8),
    charged("judge", 3, 2),
)


def shown(*spendings: Spending) -> Mapping[str, Any]:
    return economics_document(settings().routes[ROUTE], spendings)


def test_the_saving_is_what_the_teacher_would_have_cost_less_student_shadows_and_judge():
    # four answers of the student at the teacher's mean of 8, less 4 for serving, 9 for shadows and 2 for the judge
    assert cost_usd(shown(*ACCOUNTS)) == {"teacher": 16, "student": 4, "shadow": 9, "judge": 2, "net_saving": 17}


def test_a_judge_call_of_unknown_price_makes_the_saving_unknown_and_never_zero():
    costs = cost_usd(shown(*ACCOUNTS, charged("judge", 1, 0, unpriced=1)))
    assert costs == {"teacher": 16, "student": 4, "shadow": 9, "judge": None, "net_saving": None}


def test_decisions_are_listed_with_the_first_cells_evidence():
    row = {"at": NOW, "event": "Advance", "from_bp": 0, "to_bp": 500, "reason": "earned", "cells": [{"log_e": 3.5}]}
    assert decision_rows([row, row | {"cells": []}]) == [
        {"time": NOW, "event": "Advance", "from_bp": 0, "to_bp": 500, "reason": "earned", "log_e": 3.5},
        {"time": NOW, "event": "Advance", "from_bp": 0, "to_bp": 500, "reason": "earned", "log_e": None},
    ]
