"""The goals of the bench come out of the tables, and what was not measured is said to be so."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench.goals import GOALS, NOT_MEASURED, row
from loadtests.bench.report import goals, publish, text

TABLES: dict[str, dict[str, list[float]]] = {
    "cpu_us plain": {
        "nginx": [20.0, 22.0],
        "tutelage": [100.0, 110.0],
        "vllm-router": [100.0, 110.0],
        "litellm": [10_000.0, 11_000.0],
        "portkey": [1_000.0, 1_100.0],
    },
    "cpu_us stream": {"nginx": [400.0, 400.0], "tutelage": [1_400.0, 1_400.0]},
    "p50_us c=1": {"direct": [20.0, 22.0], "nginx": [50.0, 52.0], "tutelage": [230.0, 232.0]},
    "memory_mb idle": {"tutelage": [90.0]},
    "memory_kib per stream": {"tutelage": [61.0]},
    "cpu_us by size": {"1 route, 1 key": [100.0, 200.0], "1,000 routes": [105.0, 210.0], "100,000 keys": [99.0, 198.0]},
    "cpu_us per event": {"50 events": [10.0], "5,000 events": [12.0]},
}


def rows(tables: Any = TABLES) -> dict[str, tuple[str, str]]:
    return {each.figure: (each.measured, each.reached) for each in (row(goal, tables) for goal in GOALS)}


def test_every_goal_is_computed_from_its_table():
    assert rows() == {
        "CPU per request, ours to nginx's": ("5.00 ×", "stretch"),
        "CPU per request, ours to vllm-router's": ("1.00 ×", "must"),
        "CPU per request, LiteLLM's to ours": ("100 ×", "must"),
        "CPU per request, Portkey's to ours": ("10.0 ×", "no"),
        "CPU per stream of 50, ours to nginx's": ("3.50 ×", "no"),
        "added p50 at c = 1, ours to nginx's": ("7.00 ×", "must"),
        "memory of a gateway process, idle": ("90.0 MB", "must"),
        "memory per open stream": ("61.0 KiB", "must"),
        "CPU per request, 1 to 1,000 routes": ("5.00 %", "must"),
        "CPU per request, 1 to 100,000 keys": ("-1.00 %", "stretch"),
        "CPU per event, streams of 50 to 5,000": ("20.0 %", "no"),
    }


def test_a_peer_that_could_not_be_measured_is_named_and_reaches_nothing():
    without = {**TABLES, "cpu_us plain": {**TABLES["cpu_us plain"], "portkey": []}}
    assert rows(without)["CPU per request, Portkey's to ours"] == (
        "cpu_us plain of portkey was not measured",
        NOT_MEASURED,
    )


def test_added_time_that_drowns_in_noise_is_no_figure():
    noisy = {**TABLES, "p50_us c=1": {"direct": [60.0], "nginx": [50.0], "tutelage": [230.0]}}
    assert rows(noisy)["added p50 at c = 1, ours to nginx's"][1] == NOT_MEASURED


def test_the_report_shows_tables_what_is_missing_and_goals():
    shown = text(TABLES, [row(goal, TABLES) for goal in GOALS], {"portkey": "npm is not on PATH"})
    assert "portkey: npm is not on PATH" in shown
    assert any(line.split() == ["litellm", "10,500", "(10,000", "to", "11,000)", "500"] for line in shown.splitlines())
    assert shown.endswith(goals([row(goal, TABLES) for goal in GOALS]))


def test_a_runs_figures_stand_between_the_marks_of_the_document_and_nothing_else_moves(tmp_path: Path):
    document = tmp_path / "BENCHMARKS.md"
    results = {
        "machine": {"at": "2026-11-24", "cores": 2, "load_average": [0.5, 1.0, 2.0], "python": "3.11.2"},
        "took_s": 1_020,
        "goals": [asdict(row(goal, TABLES)) for goal in GOALS],
        "tables": TABLES,
        "missing": {"portkey": "npm is not on PATH"},
    }
    document.write_text("above\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nbelow\n")
    publish(document, results)
    lines = document.read_text().splitlines()
    assert (lines[0], lines[-1], "old" in lines) == ("above", "below", False)
    assert "| litellm | 10,500 (10,000 to 11,000) | 500 |" in lines
    assert "| CPU per request, ours to nginx's | ≤ 10 × | ≤ 5 × | 5.00 × | stretch |" in lines
    assert "Not measured: portkey: npm is not on PATH." in lines


def test_a_document_without_marks_is_left_alone(tmp_path: Path):
    document = tmp_path / "BENCHMARKS.md"
    document.write_text("nothing to see")
    with pytest.raises(ValueError, match="no <!-- figures"):
        publish(document, {})
    assert document.read_text() == "nothing to see"
