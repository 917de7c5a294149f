import pytest


@pytest.fixture(params=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest):
    """The client is used on uvloop; asyncio's own loop shows what depends on it."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}
