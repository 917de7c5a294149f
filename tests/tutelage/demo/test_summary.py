"""What a run came to: counted from what is durable, saved after everything that it cost."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from router.types import Arm
from tests.tutelage.control.made import NOW, attempt, exchange, shadow
from tutelage.contracts.records import Spooled, encode
from tutelage.demo.summary import cost_usd, decision_rows, spent
from tutelage.store import spool

USD = 1_000_000_000


def spooled(data_dir: Path, gateway: str, records: Iterable[Spooled]) -> None:
    path = spool.spool_path(data_dir, gateway)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    spool.create(connection)
    connection.executemany(spool.INSERT, [(record.id, "any", NOW, encode(record)) for record in records])
    connection.close()


def served(name: str, arm: Arm, cost_usd: int | None) -> Spooled:
    return exchange(name, arm, attempts=(attempt(arm, cost_nusd=None if cost_usd is None else cost_usd * USD),))


def shadowed(name: str, arm: Arm, cost_usd: int) -> Spooled:
    return shadow(name, arm, attempt=attempt(arm, "shadow", cost_nusd=cost_usd * USD))


def test_every_spool_is_counted_once_by_the_arm_that_served(tmp_path: Path):
    spooled(tmp_path, "g1", [served("a", Arm.TEACHER, 8), shadowed("a", Arm.STUDENT, 1)])
    spooled(tmp_path, "g2", [served("b", Arm.STUDENT, 1)])
    total = spent(tmp_path)
    assert (total.exchanges, total.shadows) == (2, 1)
    assert total.served == {Arm.TEACHER: 1, Arm.STUDENT: 1}


def test_the_saving_is_what_the_teacher_would_have_cost_less_student_and_shadows(tmp_path: Path):
    spooled(
        tmp_path,
        "g1",
        [
            *(served(f"t{i}", Arm.TEACHER, 8) for i in range(2)),
            *(served(f"s{i}", Arm.STUDENT, 1) for i in range(4)),
            shadowed("t0", Arm.STUDENT, 1),
            shadowed("s0", Arm.TEACHER, 8),
        ],
    )
    # four answers of the student at the teacher's mean of 8, less 4 for serving and 9 for shadows
    assert cost_usd(spent(tmp_path)) == {
        "teacher": 16,
        "student": 4,
        "shadow": 9,
        "judge": 0,
        "net_saving": pytest.approx(19),
    }


def test_an_unknown_price_is_counted_and_never_a_zero_in_the_mean(tmp_path: Path):
    records = [served("a", Arm.TEACHER, 8), served("b", Arm.TEACHER, None), served("c", Arm.STUDENT, 1)]
    spooled(tmp_path, "g1", records)
    total = spent(tmp_path)
    assert total.unpriced == 1
    assert cost_usd(total)["net_saving"] == pytest.approx(7)


def test_decisions_are_listed_with_the_first_cells_evidence():
    row = {"at": NOW, "event": "Advance", "from_bp": 0, "to_bp": 500, "reason": "earned", "cells": [{"log_e": 3.5}]}
    assert decision_rows([row, row | {"cells": []}]) == [
        {"time": NOW, "event": "Advance", "from_bp": 0, "to_bp": 500, "reason": "earned", "log_e": 3.5},
        {"time": NOW, "event": "Advance", "from_bp": 0, "to_bp": 500, "reason": "earned", "log_e": None},
    ]
