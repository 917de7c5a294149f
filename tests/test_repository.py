"""The repository's frame: the Makefile's list, the lock files, the dependency table."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]]
BUILD = [Requirement(line) for line in PROJECT["dependency-groups"]["build"]]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def locked(lock: str) -> dict[str, tuple[str, int]]:
    """Package name to (version, number of hashes), from one lock file."""
    logical = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    lines = [line for line in logical if line.strip() and not line.startswith("#")]
    found: dict[str, tuple[str, int]] = {}
    for line in lines:
        pin = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
        assert pin, f"{lock}: not pinned to one version: {line[:80]}"
        found[canonicalize_name(pin[1])] = (pin[2], line.count("--hash=sha256:"))
    return found


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in the repository, free of what an outer make exports."""
    command = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_bare_make_lists_every_target_with_a_line_of_text():
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", make().stdout, re.MULTILINE))
    assert sorted(listed) == sorted(phony[1].split())
    assert {"setup", "demo", "demo-live", "record", "test", "test-live", "nightly"} <= set(listed)


def test_setup_names_the_fix_when_no_python_is_new_enough(tmp_path: Path):
    refused = make("setup", "PYTHON=", f"VENV={tmp_path}/venv")
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed" in refused.stderr
    assert "make PYTHON=" in refused.stderr


def test_setup_names_the_fix_when_the_venv_module_is_missing(tmp_path: Path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    python.chmod(0o755)
    refused = make("setup", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert refused.returncode != 0
    assert "apt-get install python3-venv" in refused.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_its_hashes(lock: str):
    without = [name for name, (_, hashes) in locked(lock).items() if not hashes]
    assert without == []


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_package_index(lock: str):
    assert not re.search(
        r"^\s*(--(extra-)?index-url|--find-links|-i|-f)\b|://", (ROOT / lock).read_text(), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("lock", "wanted"), [(LOCKS[0], RUNTIME + BUILD), (LOCKS[1], RUNTIME + BUILD + DEVELOPMENT)], ids=LOCKS
)
def test_locks_satisfy_what_pyproject_asks_for(lock: str, wanted: list[Requirement]):
    versions = locked(lock)
    unmet = [
        str(requirement)
        for requirement in wanted
        if not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), ("0", 0))[0])
    ]
    assert unmet == [], "run `make lock`"


def test_the_development_lock_extends_the_runtime_lock():
    runtime, development = locked(LOCKS[0]), locked(LOCKS[1])
    assert {name: development.get(name) for name in runtime} == runtime


def test_every_direct_dependency_has_its_line_in_the_dependency_table():
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/DEPENDENCIES.md").read_text(), re.MULTILINE)
    documented = {canonicalize_name(name) for name in rows}
    declared = {canonicalize_name(requirement.name) for requirement in RUNTIME + DEVELOPMENT + BUILD}
    extras = [line for extra in ("vllm", "embeddings") for line in PROJECT["project"]["optional-dependencies"][extra]]
    assert documented == declared | {canonicalize_name(Requirement(line).name) for line in extras}


def test_every_file_that_the_documents_name_is_there():
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    missing = []
    for document in documents:
        text = document.read_text()
        named = re.findall(r"`((?:gateway|router|scoring|tutelage|tests|loadtests|examples|docs)/[\w./-]+)`", text)
        linked = [(document.parent / link).resolve() for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text)]
        missing += [
            f"{document.name}: {path}" for path in [*(ROOT / name for name in named), *linked] if not path.exists()
        ]
    assert missing == []


def test_the_console_script_names_the_command_line():
    assert PROJECT["project"]["scripts"] == {"tutelage": "tutelage.cli.main:main"}
