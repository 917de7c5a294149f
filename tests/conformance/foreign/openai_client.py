"""A pytest plugin for suites that make OpenAI clients of their own: they try everything once, so that no failure hides.

Loaded in the suite's environment (`-p openai_client`), where nothing of this project can be imported.
"""

from collections.abc import Callable
from typing import Any

import openai


def _once(made: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807 - it becomes one
        made(self, *arguments, **{**options, "max_retries": 0})

    return __init__


for kind in (openai.OpenAI, openai.AsyncOpenAI):
    kind.__init__ = _once(kind.__init__)  # type: ignore[method-assign]  # the suite's own code makes the clients
