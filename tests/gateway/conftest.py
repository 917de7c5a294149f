from collections.abc import AsyncIterator

import pytest

from tests.gateway.model_server import ModelServer, model_server

pytest.register_assert_rewrite("tests.gateway.upstreams.contract", "tests.gateway.upstreams.wire_contract")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def teacher() -> AsyncIterator[ModelServer]:
    async with model_server("teacher") as server:
        yield server


@pytest.fixture
async def student() -> AsyncIterator[ModelServer]:
    async with model_server("student") as server:
        yield server
