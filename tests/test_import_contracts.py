"""What import-linter cannot express: the standard library alone, and one file that imports litellm.

That this file does so lazily is a lint rule (TID253).
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("router", "gateway", "scoring", "tutelage")
LITELLM = Path("gateway/upstreams/litellm.py")


def sources(*folders: str) -> list[Path]:
    """The Python files of these folders, relative to the repository."""
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The dotted name of every module that a file imports, wherever in the file; relative imports are resolved."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = path.parts[: -node.level] if node.level else ()
            yield ".".join((*base, *filter(None, [node.module])))


def foreign(path: Path, *allowed: str) -> list[str]:
    """Imports that are neither the standard library nor one of `allowed` or below it."""
    return [
        name
        for name in imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not any(name == root or name.startswith(f"{root}.") for root in allowed)
    ]


@pytest.mark.parametrize("path", sources("router"), ids=str)
def test_router_imports_only_itself_and_the_standard_library(path: Path):
    assert foreign(path, "router") == []


@pytest.mark.parametrize("path", sources("scoring/stats"), ids=str)
def test_statistics_import_only_themselves_and_numpy_and_scipy(path: Path):
    assert foreign(path, "scoring.stats", "numpy", "scipy") == []


def test_litellm_is_imported_in_one_file():
    importers = {path for path in sources(*PACKAGES) for name in imported(path) if f"{name}.".startswith("litellm.")}
    assert importers <= {LITELLM}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import redis", ["redis"]),
        ("def late():\n    from litellm.utils import x", ["litellm.utils"]),
        ("from . import x", ["router"]),
        ("from ..gateway import x", ["gateway"]),
        ("import json, router.types", []),
    ],
)
def test_foreign_sees_every_form_of_import(tmp_path: Path, monkeypatch, source: str, expected: list[str]):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "router").mkdir()
    (tmp_path / "router/sample.py").write_text(source)
    assert foreign(Path("router/sample.py"), "router.types") == expected
