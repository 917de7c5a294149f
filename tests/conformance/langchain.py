"""langchain-tests' integration tests of chat models, with langchain-openai."""

import os
from collections.abc import Mapping

from tests.conformance.environments import python_environment
from tests.conformance.obedient import obedient
from tests.conformance.pytests import FOREIGN, run_pytest
from tests.conformance.suite import Run, Suite

VERSION = "1.1.9"
PACKAGES = (f"langchain-tests=={VERSION}", "langchain-openai==1.7.3", "openai==3.54.0", "pytest==9.2.0")
KEY = "sk-langchain-conformance"


_ONE_LOOP = ("--asyncio-mode=auto", "-o", "asyncio_default_test_loop_scope=session")
"""langchain keeps a client's connections over tests: they must not outlive their loop."""


def run(run: Run) -> Mapping[str, bool]:
    return run_pytest(
        run,
        python_environment("langchain", PACKAGES),
        ["-c", os.devnull, "--rootdir", ".", "--tb=line", *_ONE_LOOP, "langchain_chat_model.py"],
        folder=FOREIGN,
        CONFORMANCE_BASE_URL=run.base_url,
        CONFORMANCE_API_KEY=KEY,
        OPENAI_API_KEY=KEY,
    )


SUITE = Suite(
    name="langchain-tests",
    version=VERSION,
    answered_by="stand-in",
    keys=(KEY,),
    upstream=obedient,
    run=run,
)
