"""The figures of docs/ROBUSTNESS.md: each test says what it measured, and the run ends with the table."""

from collections.abc import Callable

import pytest

Figure = Callable[[str, str, str, str], None]
"""Rule, what was measured, the goal, the value."""

_ROWS = pytest.StashKey[list[tuple[str, str, str, str]]]()


@pytest.fixture
def anyio_backend():
    """What gateways run on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    rows = request.config.stash.setdefault(_ROWS, [])

    def add(rule: str, what: str, goal: str, value: str) -> None:
        rows.append((rule, what, goal, value))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    terminalreporter.section("figures of robustness")
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
