"""The bench's command: `python -m loadtests.bench [--quick]`."""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.bench import figures
from loadtests.bench.install import debian
from loadtests.bench.processes import end
from loadtests.bench.rounds import Load, Rounds, interleaved
from loadtests.bench.systems.base import Place, System, Target
from loadtests.bench.systems.nginx import Nginx
from loadtests.bench.systems.tutelage import Tutelage

WRK_PACKAGES = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")
RESULTS = Path("data/bench/results.json")
PLAIN = Load(name="plain", connections=32, seconds=2)
STREAM = Load(name="stream of 50", connections=32, seconds=2, events=50)


@contextlib.contextmanager
def model_server() -> Iterator[str]:
    """The mock upstream at work; its address without `/v1`."""
    server = subprocess.Popen(
        [sys.executable, "-m", "loadtests.bench.upstream"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        end(server)  # type: ignore[arg-type]  # text or bytes: it is only ended


@contextlib.contextmanager
def started(systems: list[System], upstream: str, folder: Path) -> Iterator[list[Target]]:
    with contextlib.ExitStack() as stack:
        targets = []
        for system in systems:
            place = folder / system.name.replace(" ", "-")
            place.mkdir()
            targets.append(stack.enter_context(system.running(Place(upstream=upstream, folder=place))))
        yield targets


def say(text: str) -> None:
    print(
        f"\r\033[K{text}" if sys.stderr.isatty() else text,
        end="" if sys.stderr.isatty() else "\n",
        file=sys.stderr,
        flush=True,
    )


def rows(kind: str, rounds: Rounds) -> list[dict[str, Any]]:
    """One row per system: CPU µs per request, its ratio to nginx, requests a second, errors."""
    costs = {name: [each.cpu_us or 0.0 for each in windows] for name, windows in rounds.items()}
    return [
        {
            "load": kind,
            "system": name,
            "cpu_us": asdict(figures.spread(costs[name])),
            "to_nginx": asdict(figures.ratios(costs[name], costs["nginx"])),
            "requests_per_s": figures.spread(
                [each.measured.requests / each.measured.wall_us * 1e6 for each in windows]
            ).median,
            "errors": sum(each.measured.errors for each in windows),
        }
        for name, windows in rounds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    wrk = debian("wrk", WRK_PACKAGES).argv
    systems: list[System] = [Nginx(), Tutelage()]
    for system in systems:
        system.install()
    with (
        tempfile.TemporaryDirectory() as folder,
        model_server() as upstream,
        started(systems, upstream, Path(folder)) as targets,
    ):
        measured = [
            row
            for load in (PLAIN, STREAM)
            for row in rows(load.name, interleaved(wrk, targets, load, given.rounds, say))
        ]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"rows": measured}, indent=2) + "\n")
    for row in measured:
        print(
            f"{row['load']:14} {row['system']:10} CPU µs {figures.Spread(**row['cpu_us'])!s:24}"
            f" × nginx {figures.Spread(**row['to_nginx'])!s:20} requests/s {row['requests_per_s']:8,.0f}  errors {row['errors']}"
        )


if __name__ == "__main__":
    main()
