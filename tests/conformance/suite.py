"""What a suite is, and the ways in which each is run.

A suite is a test suite that nobody here wrote, or a real client through every kind of call where none is published. It is run
against its upstream itself, and again through the gateway; what passes directly must pass through. To add one: a file with its
`Suite`, and its line in `SUITES` of `__main__`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECT = "direct"
_ALONE = {"fallback": "none", "shadow": {"student": "0%", "teacher": "0%"}}
THROUGH: Mapping[str, Mapping[str, Any]] = {
    "teacher": {"share": "0%", **_ALONE},
    "student": {"share": "100%", **_ALONE},
    "split": {"share": "50%", "shadow": {"student": "100%", "teacher": "100%"}},
}
"""Settings of the route by way: one arm whose errors no fallback hides, or half and half with a shadow of everything."""

ARMS: Mapping[str, tuple[str, ...]] = {
    "teacher": ("teacher",),
    "student": ("student",),
    "split": ("teacher", "student"),
}
"""Who must have served by way, or it shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: where to send requests, and a folder for what is written. `base_url` has the API's paths."""

    base_url: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """`upstream` starts what answers in a folder and gives its base URL; `run` gives (test, passed). `keys` are its API keys."""

    name: str
    version: str
    answered_by: str
    keys: tuple[str, ...]
    upstream: Callable[[Path], AbstractAsyncContextManager[str]]
    run: Callable[[Run], Mapping[str, bool]]
