"""LangChain.js's integration tests of its OpenAI models, which drive OpenAI's Node client.

The last published @langchain/openai that ships its tests is of June 2024; the client beneath it is today's. OpenAI publishes no
tests of the client itself, and LangChain no longer those of its package.
"""

import json
from collections.abc import Mapping

from tests.conformance.command import reported
from tests.conformance.environments import node_environment
from tests.conformance.obedient import obedient
from tests.conformance.pytests import FOREIGN
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
    report = run.folder / "report.json"
    configuration = json.dumps({**CONFIGURATION, "rootDir": str(home)})
    jest = [str(home / "node_modules/.bin/jest"), "--config", configuration, "--json", "--outputFile", str(report)]
    reported(
        run,
        [*jest, "--forceExit"],
        report,
        folder=home,
        NODE_OPTIONS="--experimental-vm-modules",
        OPENAI_BASE_URL=run.base_url,
        OPENAI_API_KEY=KEY,
    )
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
