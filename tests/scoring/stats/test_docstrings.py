"""The statistics read as mathematics: each function shows by an example what it says."""

import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import scoring.stats

MODULES = [found.name for found in iter_modules([str(Path(scoring.stats.__file__).parent)])]


@pytest.mark.parametrize("name", MODULES)
def test_every_function_has_an_example(name: str):
    module = import_module(f"scoring.stats.{name}")
    own = [
        (called, member)
        for called, member in vars(module).items()
        if not called.startswith("_") and inspect.isroutine(member) and inspect.getmodule(member) is module
    ]
    assert own
    assert [called for called, member in own if ">>>" not in (inspect.getdoc(member) or "")] == []
