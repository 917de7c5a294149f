"""pydantic-ai's tests of its OpenAI models, answered from its own recordings of OpenAI's API; both from its source distribution.

Of November 2025: later ones ship no tests. Tests that have no recording of OpenAI ask a mock in their own process: left out.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.conformance.environments import python_environment, source_of
from tests.conformance.pytests import run_pytest
from tests.conformance.recorded import recorded
from tests.conformance.suite import Run, Suite

VERSION = "1.20.0"
PACKAGES = (
    f"pydantic-ai-slim[openai,google,anthropic]=={VERSION}", "openai==3.54.0", "opentelemetry-api==1.37.0", "pytest==9.2.0",
    "pytest-recording==0.14.1", "pytest-mock==3.17.0", "pytest-examples==0.0.18", "inline-snapshot==0.36.1",
    "dirty-equals==0.11", "genai-prices==0.0.41", "anthropic==0.74.1",
)  # fmt: skip
TESTS = ("tests/models/test_openai.py", "tests/models/test_openai_responses.py")
KEYS = ("sk-pydantic-ai-conformance", "foobar")
"""Ours, and the one that a test of theirs brings."""


def source() -> Path:
    return source_of("pydantic_ai", VERSION)


@asynccontextmanager
async def upstream(_: Path) -> AsyncIterator[str]:
    async with recorded(source() / "tests/models/cassettes") as url:
        yield url


def run(run: Run) -> Mapping[str, bool]:
    return run_pytest(
        run,
        python_environment("pydantic-ai", PACKAGES),
        ["-p", "openai_client", "-p", "recorded_tests", "--inline-snapshot=disable", "--tb=short", *TESTS],
        folder=source(),
        OPENAI_BASE_URL=run.base_url,
        OPENAI_API_KEY=KEYS[0],
    )


SUITE = Suite(
    name="pydantic-ai",
    version=VERSION,
    answered_by="recordings",
    keys=KEYS,
    upstream=upstream,
    run=run,
)
