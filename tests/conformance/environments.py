"""What a suite installs: Python environments and npm folders of their own, cached under what decides their content.

They lie in ${XDG_CACHE_HOME:-~/.cache}/tutelage/conformance-NAME-KEY. Virtual environments cannot be moved: each is built in
place, one builder at a time, and is valid once `.complete` is there. Must not know what is run in them.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

INSTALL_S = 900
_COMPLETE = ".complete"


def python_environment(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of a virtual environment with exactly `packages` asked for."""

    def build(target: Path) -> None:
        _run([sys.executable, "-m", "venv", str(target)], target.parent)
        _run([str(target / "bin/python"), *_PIP, "install", *packages], target)

    return _cached(name, [*packages, sys.version], build) / "bin/python"


def node_environment(name: str, packages: Sequence[str], overrides: Mapping[str, str] | None = None) -> Path:
    """A folder with `packages` in its node_modules; `overrides` are versions that they are given against their own wish."""
    frame = json.dumps({"private": True, "overrides": dict(overrides or {})})

    def build(target: Path) -> None:
        target.mkdir(parents=True)
        (target / "package.json").write_text(frame)
        _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages], target)

    return _cached(name, [*packages, frame], build)


def source_of(project: str, version: str) -> Path:
    """The unpacked source distribution: what its authors test, with their tests."""

    def build(target: Path) -> None:
        target.mkdir(parents=True)
        download = ["download", "--no-deps", "--no-binary", project, "--dest", str(target), f"{project}=={version}"]
        _run([sys.executable, *_PIP, *download], target)
        archive = target / f"{project}-{version}.tar.gz"
        shutil.unpack_archive(archive, target)
        archive.unlink()

    return _cached(f"{project}-source", [version], build) / f"{project}-{version}"


_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


def _cached(name: str, parts: Sequence[str], build: Callable[[Path], None]) -> Path:
    key = hashlib.sha256("\n".join([*parts, platform.machine()]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"conformance-{name}-{key}"
    with (cache / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / _COMPLETE).exists():
            shutil.rmtree(target, ignore_errors=True)
            build(target)
            (target / _COMPLETE).touch()
    return target


def _run(command: Sequence[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_S, stdout=sys.stderr)
