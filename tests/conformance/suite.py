"""What a suite is, and the ways in which each is run.

A suite is a test suite that nobody here wrote. It is run against its upstream itself, and again through the gateway; what passes
directly must pass through. To add one: a file with its `Suite`, and its line in `SUITES` of `__main__`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

DIRECT = "direct"
ARM_HEADER = "x-tutelage-arm"
THROUGH: Mapping[str, Mapping[str, str]] = {
    "teacher": {ARM_HEADER: "teacher"},
    "student": {ARM_HEADER: "student"},
    "split": {},
}
"""Headers by way: pinned to an arm, which then neither falls back nor is sampled; or split 50/50, shadowed and captured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: where to send requests, with which headers, and a folder for what is written. `base_url` has the API's paths."""

    base_url: str
    headers: Mapping[str, str]
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
