"""OpenAI's Node client through every kind of call: `clients/node_client.mjs`, ours, since no suite of it is published."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.conformance.environments import node_environment
from tests.conformance.obedient import obedient
from tests.conformance.pytests import RUN_S, results_of
from tests.conformance.suite import Run, Suite

VERSION = "7.57.0"
PACKAGES = (f"openai@{VERSION}", "zod@4.6.7")
SCRIPT = Path(__file__).parent / "clients/node_client.mjs"
KEY = "sk-node-client-conformance"


def run(run: Run) -> Mapping[str, bool]:
    home = node_environment("node-client", PACKAGES)
    (run.folder / "node_modules").symlink_to(home / "node_modules")
    script = shutil.copy(SCRIPT, run.folder)  # modules are looked for beside the file that names them
    report, said = run.folder / "report.xml", run.folder / "node.log"
    command = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={report}", str(script)]
    with said.open("wb") as log:
        subprocess.run(
            command,
            cwd=run.folder,
            env={**os.environ, "OPENAI_BASE_URL": run.base_url, "OPENAI_API_KEY": KEY},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=RUN_S,
            check=False,
        )
    if not report.exists():
        raise RuntimeError(f"the suite did not run:\n{said.read_text(errors='replace')[-3_000:]}")
    return {name.removeprefix("test::"): good for name, good in results_of(report).items()}


SUITE = Suite(name="openai-node", version=VERSION, answered_by="stand-in", keys=(KEY,), upstream=obedient, run=run)
