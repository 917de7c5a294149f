"""Clients for Node through every kind of call, by scripts of ours in `clients/`: no suite of theirs is published.

To add one: its script, its `Suite` here, and its line in `SUITES` of `__main__`.
"""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.conformance.command import reported
from tests.conformance.environments import node_environment
from tests.conformance.obedient import obedient
from tests.conformance.pytests import results_of
from tests.conformance.suite import Run, Suite

CLIENTS = Path(__file__).parent / "clients"
KEY = "sk-node-conformance"


def run_script(name: str, packages: Sequence[str], run: Run) -> Mapping[str, bool]:
    """(test, passed) of `clients/NAME.mjs` beside `packages`."""
    home = node_environment(name, packages)
    (run.folder / "node_modules").symlink_to(home / "node_modules")
    script = shutil.copy(CLIENTS / f"{name}.mjs", run.folder)  # modules are looked for beside the file that names them
    report = run.folder / "report.xml"
    argv = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={report}", str(script)]
    reported(run, argv, report, folder=run.folder, OPENAI_BASE_URL=run.base_url, OPENAI_API_KEY=KEY)
    return {name.removeprefix("test::"): good for name, good in results_of(report).items()}


def _suite(name: str, version: str, script: str, packages: Sequence[str]) -> Suite:
    return Suite(
        name=name,
        version=version,
        answered_by="stand-in",
        keys=(KEY,),
        upstream=obedient,
        run=partial(run_script, script, packages),
    )


OPENAI = _suite("openai-node", "7.57.0", "openai_node", ("openai@7.57.0", "zod@4.6.7"))
VERCEL = _suite("vercel-ai", "6.0.326", "vercel_ai", ("ai@6.0.326", "@ai-sdk/openai@3.0.141", "zod@4.6.7"))
