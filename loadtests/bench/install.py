"""wrk, nginx and the peers: installed once under ${XDG_CACHE_HOME:-~/.cache}/tutelage, each by what it is made of.

A folder is named by a hash of all that decides its content and valid once `.complete` is in it, so that a change installs
anew and an interrupted installation is begun again. Debian's packages are unpacked, not installed: no root, no service that
starts by itself. What cannot be had raises NotInstalled with the installer's own words; nobody puts anything in its place.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL_S = 900
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib/x86_64-linux-gnu")


class NotInstalled(RuntimeError):
    """A program is not here and could not be installed; the message says what failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How to start an installed program."""

    argv: tuple[str, ...]
    version: str


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage"


def debian(binary: str, packages: Sequence[str]) -> Program:
    """`binary` from PATH, else unpacked from Debian's packages. wrk's libraries are found beside it."""
    found = shutil.which(binary)
    if found:
        return Program(argv=(found,), version=_said(found, "-v"))

    def build(folder: Path) -> None:
        try:
            _run(["apt-get", "download", "-qq", *packages], folder)
        except NotInstalled:
            _run(["apt-get", "update", "-qq"], folder)
            _run(["apt-get", "download", "-qq", *packages], folder)
        for package in sorted(folder.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(folder)], folder)

    folder = _built(binary, (*packages, platform.machine()), build)
    path = next(
        (folder / place / binary for place in ("usr/bin", "usr/sbin") if (folder / place / binary).exists()), None
    )
    if path is None:
        raise NotInstalled(f"{', '.join(packages)} hold no {binary}")
    libraries = ":".join(str(folder / library) for library in LIBRARIES)
    argv = ("env", f"LD_LIBRARY_PATH={libraries}", str(path))
    return Program(argv=argv, version=_said(*argv, "-v"))


def python(name: str, *requirements: str) -> Path:
    """The interpreter of an environment of its own that holds `requirements`."""

    def build(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = [
            str(folder / "bin/python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "install",
            "--quiet",
        ]
        _run([*pip, *requirements], folder)

    return _built(name, (*requirements, sys.version, platform.machine()), build) / "bin/python"


def node(name: str, package: str) -> Path:
    """The folder `node_modules` that holds `package`."""
    if shutil.which("npm") is None:
        raise NotInstalled("npm is not on PATH: install Node.js (Debian, Ubuntu: apt-get install npm)")

    def build(folder: Path) -> None:
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), package], folder)

    return _built(name, (package, platform.machine()), build) / "node_modules"


def _built(name: str, made_of: Sequence[str], build: Callable[[Path], None]) -> Path:
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:12]
    folder = cache() / f"{name}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            print(f"installing {' '.join(made_of[:1])} into {folder}", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            (folder / ".complete").touch()
    return folder


def _run(argv: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise NotInstalled(f"{argv[0]}: {fault}") from fault
    if done.returncode != 0:
        raise NotInstalled(
            f"{' '.join(argv[:3])} … ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}"
        )


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    return (done.stdout + done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else "unknown"
