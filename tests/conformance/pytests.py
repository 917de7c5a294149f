"""A foreign pytest suite in its own environment, and what it says in JUnit's form."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conformance.command import reported
from tests.conformance.suite import Run

FOREIGN = Path(__file__).parent / "foreign"


def run_pytest(
    run: Run, python: Path, arguments: Sequence[str], *, folder: Path, **environment: str
) -> Mapping[str, bool]:
    """(test, passed) of every test that was not skipped. `environment` is added to this one's."""
    report = run.folder / "report.xml"
    theirs = [f"--confcutdir={folder}", f"--junitxml={report}"]  # our own conftest.py is not for their environment
    argv = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *theirs, *arguments]
    added = {"PYTHONPATH": str(FOREIGN), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return results_of(reported(run, argv, report, folder=folder, **added))


def results_of(report: Path) -> dict[str, bool]:
    """A test that fails in its call and again in its teardown is named twice: it has failed."""
    results: dict[str, bool] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by the pytest that was just started
        if case.find("skipped") is None:
            name = f"{case.get('classname')}::{case.get('name')}"
            results[name] = results.get(name, True) and case.find("failure") is None and case.find("error") is None
    return results
