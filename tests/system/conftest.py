"""A whole installation under test: `tutelage serve` as users run it, in front of model servers in this loop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.model_server import answering, model_server
from tutelage.demo.site import ROUTE, Site, running_site

StartSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def site(tmp_path: Path) -> StartSite:
    """Starts a site with one route of a fixed split; `changes` are merged into the configuration's top level."""

    @asynccontextmanager
    async def start(share: str, **changes: Any) -> AsyncIterator[Site]:
        async with (
            model_server("teacher", answering("net")) as teacher,
            model_server("student", answering("net")) as student,
        ):
            document = {
                "upstreams": {
                    "big": {"kind": "openai", "base_url": teacher.url, "model": "big-1"},
                    "small": {"kind": "vllm", "base_url": student.url, "model": "small-1", "trained_until": 1.0},
                },
                "routes": {
                    ROUTE: {
                        "teacher": "big",
                        "student": "small",
                        "share": share,
                        "capture": {"content": "full", "purpose": "tests"},
                        "shadow": {"student": "50%", "teacher": "50%"},
                        "unit": "request",
                    }
                },
                **changes,
            }
            async with running_site(tmp_path, document) as running:
                yield running

    return start
