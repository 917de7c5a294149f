"""LangChain.js's integration tests of its OpenAI models, which drive OpenAI's Node client.

The last published @langchain/openai that ships its tests is of June 2024; the client beneath it is today's. OpenAI publishes no
tests of the client itself, and LangChain no longer those of its package.
"""

import json
import os
import subprocess
from collections.abc import Mapping

from tests.conformance.environments import node_environment
from tests.conformance.obedient import obedient
from tests.conformance.pytests import FOREIGN, RUN_S
from tests.conformance.suite import Run, Suite

VERSION = "0.0.33"
CLIENT = "7.57.0"
PACKAGES = (f"@langchain/openai@{VERSION}", "jest@29.7.0", "@jest/globals@29.7.0", "zod@3.25.76")
KEY = "sk-langchain-js-conformance"
CONFIGURATION = {
    "testEnvironment": "node",
    "transform": {},
    "testPathIgnorePatterns": [],
    "testMatch": ["**/@langchain/openai/dist/tests/*.int.test.js"],
    "haste": {"retainAllFiles": True},
    "setupFiles": [str(FOREIGN / "loopback_only.cjs")],
    "testTimeout": 10_000,
}


def run(run: Run) -> Mapping[str, bool]:
    home = node_environment("langchain-js", PACKAGES, {"openai": CLIENT})
    report, said = run.folder / "report.json", run.folder / "jest.log"
    configuration = json.dumps({**CONFIGURATION, "rootDir": str(home)})
    command = [str(home / "node_modules/.bin/jest"), "--config", configuration, "--json", "--outputFile", str(report)]
    with said.open("wb") as log:
        subprocess.run(
            [*command, "--forceExit"],
            cwd=home,
            env={
                **os.environ,
                "NODE_OPTIONS": "--experimental-vm-modules",
                "OPENAI_BASE_URL": run.base_url,
                "OPENAI_API_KEY": KEY,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=RUN_S,
            check=False,
        )
    if not report.exists():
        raise RuntimeError(f"the suite did not run:\n{said.read_text(errors='replace')[-3_000:]}")
    return {
        f"{file['name'].rpartition('/')[2]}::{case['fullName']}": case["status"] == "passed"
        for file in json.loads(report.read_text())["testResults"]
        for case in file["assertionResults"]
    }


SUITE = Suite(
    name="langchain-js",
    version=f"{VERSION}, openai {CLIENT}",
    answered_by="stand-in",
    keys=(KEY,),
    upstream=obedient,
    run=run,
)
