from collections.abc import AsyncIterator

import pytest

from tests.hostile.target import Target, attacked


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    async with attacked(tmp_path_factory.mktemp("target")) as target:
        yield target
