"""A pytest plugin for suites that make OpenAI clients of their own: no retries, and the headers of this run.

Loaded in the suite's environment (`-p openai_client`), where nothing of this project can be imported.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import openai

HEADERS: dict[str, str] = json.loads(os.environ["CONFORMANCE_HEADERS"])


def _settled(made: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807 - it becomes one
        options["max_retries"] = 0
        options["default_headers"] = {**HEADERS, **(options.get("default_headers") or {})}
        made(self, *arguments, **options)

    return __init__


for kind in (openai.OpenAI, openai.AsyncOpenAI):
    kind.__init__ = _settled(kind.__init__)  # type: ignore[method-assign]  # the suite's own code makes the clients
