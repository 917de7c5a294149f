"""A foreign suite as a command: run to its end, what it says kept in a log, its report wanted.

Must not know what is in a report.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.suite import Run
from tutelage.lifetime import ends_with_this_process

RUN_S = 1_800


def reported(run: Run, argv: Sequence[str], report: Path, *, folder: Path, **environment: str) -> Path:
    """Run `argv` in `folder` with `environment` added to this one's; `report`, which it has written.

    Raises RuntimeError with the end of its log where it wrote none. Which tests failed is in the report, not in its exit code.
    """
    said = run.folder / "suite.log"
    with said.open("wb") as log:
        subprocess.run(
            argv,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=RUN_S,
            preexec_fn=ends_with_this_process(),
            check=False,
        )
    if not report.exists():
        raise RuntimeError(f"the suite did not run:\n{said.read_text(errors='replace')[-3_000:]}")
    return report
