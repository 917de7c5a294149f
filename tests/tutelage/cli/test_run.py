import os
import sys

import pytest

from tests.tutelage.cli.conftest import Site
from tutelage.cli.run import INTERNAL_KEY, _environment
from tutelage.contracts.load import load


@pytest.fixture
def became(monkeypatch) -> list[list[str]]:
    """What this process would have become."""
    argvs: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: argvs.append([path, *argv]))
    return argvs


@pytest.mark.parametrize(
    ("command", "module", "more"),
    [
        (("gateway", "--index", "2"), "gateway", ["--index", "2"]),
        (("control",), "tutelage.control", []),
        (("worker",), "scoring.worker", []),
    ],
)
def test_a_role_becomes_its_module(
    site: Site, became: list[list[str]], command: tuple[str, ...], module: str, more: list[str]
):
    assert site.run(*command).code == 0
    assert became == [[sys.executable, sys.executable, "-m", module, "--config", str(site.config), *more]]


def test_a_role_with_a_broken_configuration_starts_nothing(site: Site, became: list[list[str]]):
    site.config.write_text("routes: {}\n")
    assert site.run("control").code == 2
    assert became == []


def test_serve_makes_a_fresh_internal_key_for_its_children(site: Site):
    settings = load(site.config)
    first = _environment(settings, site.store)[INTERNAL_KEY]
    second = _environment(settings, site.store)[INTERNAL_KEY]
    assert first != second
    [key] = tuple(site.store.keys())
    assert (key.role, key.may_log, key.may_train) == ("internal", False, False)
