"""schemathesis as a command: made-up requests by an OpenAPI document, and which operations no check found anything in.

Must not know whose document it is, or who answers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conformance.command import reported
from tests.conformance.environments import python_environment
from tests.conformance.pytests import results_of
from tests.conformance.suite import Run

VERSION = "4.32.5"
SEED = 7


def checked(
    run: Run, document: Path, key: str, *, mode: str, checks: Sequence[str], phases: Sequence[str], examples: int
) -> Mapping[str, bool]:
    """(operation, nothing found) of `document` at the run's base URL, with up to `examples` requests a phase and operation.

    `mode` says whether they are good: `positive`, `negative` or `all`.
    """
    report = run.folder / "report.xml"
    argv = [
        str(python_environment("schemathesis", [f"schemathesis=={VERSION}"]).with_name("schemathesis")), "run", str(document),
        "--url", run.base_url, "--header", f"Authorization: Bearer {key}", f"--report-junit-path={report}",
        "--mode", mode, "--checks", ",".join(checks), "--phases", ",".join(phases), "--max-examples", str(examples),
        "--seed", str(SEED), "--request-timeout", "20", "--continue-on-failure", "--no-color", "--generation-database", "none",
    ]  # fmt: skip
    reported(run, argv, report, folder=run.folder, NO_PROXY="127.0.0.1")
    return {name.removeprefix("None::"): good for name, good in results_of(report).items()}
