import os
import sys

import pytest

from tests.tutelage.cli.conftest import Site
from tutelage.cli.run import INTERNAL_KEY, _environment, _prepared
from tutelage.contracts.errors import StoreUnavailable
from tutelage.contracts.load import load
from tutelage.contracts.snapshot import SNAPSHOT
from tutelage.preflight import sole


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


def test_a_second_serve_on_one_folder_is_refused_before_it_starts_anything(site: Site):
    with sole(site.data_dir):
        answered = site.run("serve")
    assert answered.code == 2
    assert f"data_dir {site.data_dir} is served already, by process {os.getpid()}" in answered.err


def test_without_its_store_a_first_serve_ends_and_a_later_one_serves_by_the_snapshot(site: Site):
    site.store.close()
    (site.data_dir / "tutelage.db").write_bytes(b"no store " * 500)
    settings = load(site.config)
    with pytest.raises(StoreUnavailable, match=r"it is no store: name another file in store\.url"):
        _prepared(settings)
    (site.data_dir / SNAPSHOT).write_text("{}")
    environment, _ = _prepared(settings)
    assert environment[INTERNAL_KEY].startswith("tut-")
