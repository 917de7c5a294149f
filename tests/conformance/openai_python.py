"""openai-python's generated tests of every resource, from its source distribution, against Steady.

Tests of what the document does not hold yet fail directly too, and so count for nothing.
"""

from collections.abc import Mapping

from tests.conformance.environments import python_environment, source_of
from tests.conformance.pytests import run_pytest
from tests.conformance.steady import steady
from tests.conformance.suite import Run, Suite

VERSION = "3.54.0"
PACKAGES = (
    f"openai=={VERSION}", "pytest==9.2.0", "pytest-asyncio==1.5.0", "pytest-xdist==3.8.0", "respx==0.23.1",
    "inline-snapshot==0.36.1", "rich==15.0.0", "httpx-aiohttp==0.2.0", "httpx[http2]==0.28.1",
)  # fmt: skip


def run(run: Run) -> Mapping[str, bool]:
    return run_pytest(
        run,
        python_environment("openai-python", PACKAGES),
        ["-p", "openai_client", "-n", "2", "--tb=line", "tests/api_resources"],
        folder=source_of("openai", VERSION),
        TEST_API_BASE_URL=run.base_url,
    )


SUITE = Suite(
    name="openai-python",
    version=VERSION,
    answered_by="Steady",
    keys=("My API Key", "My Admin API Key"),
    upstream=steady,
    run=run,
)
