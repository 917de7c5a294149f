"""A pytest plugin for suites that replay recordings: only tests that have one of OpenAI's API are run, and each request names the
recording that it is to be answered from.

Loaded in the suite's environment (`-p recorded_tests`), where nothing of this project can be imported.
"""

import os
from collections import Counter
from typing import Any

import openai
import pytest

HEADER = "x-recording"
"""module/test/number, the number counting the test's requests to OpenAI from 0."""
_asked: Counter[str] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if _recording_of(item).exists()]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _recording_of(item: pytest.Item) -> Any:
    return item.path.parent / "cassettes" / item.path.stem / f"{item.name}.yaml"


async def _prepare_request(self: Any, request: Any) -> None:
    path, _, name = os.environ["PYTEST_CURRENT_TEST"].rpartition(" (")[0].partition("::")
    test = f"{path.rpartition('/')[2].removesuffix('.py')}/{name}"
    request.headers[HEADER] = f"{test}/{_asked[test]}"
    _asked[test] += 1


openai.AsyncOpenAI._prepare_request = _prepare_request  # type: ignore[method-assign]  # the client's own hook for subclasses
