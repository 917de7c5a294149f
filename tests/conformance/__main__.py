"""`python -m tests.conformance`: suites that nobody here wrote, direct at their upstream and through the gateway.

Writes data/conformance.json and prints one table. Lost is what passed directly and did not pass through: it must be nothing, is
listed by name where it is not, and then the exit code is 1. A suite that passes nothing directly has tested nothing, and neither
has a way on which an arm served nothing: those are failures too.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance import (
    langchain,
    langchain_js,
    node_clients,
    openai_document,
    openai_python,
    own_api,
    pydantic_ai,
    schemathesis,
)
from tests.conformance.installation import gateway_before, served_by_arm
from tests.conformance.suite import ARMS, DIRECT, THROUGH, Run, Suite

SUITES: tuple[Suite, ...] = (
    openai_python.SUITE,
    node_clients.OPENAI,
    node_clients.VERCEL,
    langchain.SUITE,
    langchain_js.SUITE,
    pydantic_ai.SUITE,
    openai_document.SUITE,
)
NAMES = (*(suite.name for suite in SUITES), own_api.NAME)
RESULTS = Path("data/conformance.json")
SHOWN = 50
"""Lost tests that are printed; the file names all."""
PROGRESS = Console(stderr=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One suite one way through. `lost` passed directly and not here; where there is no direct way, it failed. `served` are the
    route's requests by arm; `unserved` are arms that should have served and did not."""

    suite: str
    version: str
    answered_by: str
    way: str
    tests: int
    passed_direct: int | None
    passed_through: int
    lost: tuple[str, ...]
    served: Mapping[str, int]
    unserved: tuple[str, ...]


async def rows_of(suite: Suite, folder: Path) -> list[Row]:
    """Run `suite` every way."""

    async def results(way: str, base_url: str) -> Mapping[str, bool]:
        place = folder / way
        await asyncio.to_thread(place.mkdir, parents=True, exist_ok=True)
        PROGRESS.print(f"{suite.name}: {way}")
        return await asyncio.to_thread(suite.run, Run(base_url=base_url, folder=place))

    rows: list[Row] = []
    async with suite.upstream(folder) as upstream:
        direct = await results(DIRECT, upstream)
        for way, route in THROUGH.items():
            async with gateway_before(upstream, folder / way / "gateway", keys=suite.keys, route=route) as site:
                found = await results(way, f"{site.url}/v1")
                rows.append(row_of(suite, way, direct, found, await served_by_arm(site)))
    return rows


def row_of(
    suite: Suite, way: str, direct: Mapping[str, bool], through: Mapping[str, bool], served: Mapping[str, int]
) -> Row:
    passed = {name for name, good in direct.items() if good}
    kept = {name for name, good in through.items() if good}
    return Row(
        suite=suite.name,
        version=suite.version,
        answered_by=suite.answered_by,
        way=way,
        tests=len(direct),
        passed_direct=len(passed),
        passed_through=len(passed & kept),
        lost=tuple(sorted(passed - kept)),
        served=served,
        unserved=tuple(arm for arm in ARMS[way] if not served.get(arm)),
    )


def row_of_own(plane: str, found: Mapping[str, bool]) -> Row:
    return Row(
        suite=own_api.NAME,
        version=schemathesis.VERSION,
        answered_by="the gateway itself",
        way=plane,
        tests=len(found),
        passed_direct=None,
        passed_through=sum(found.values()),
        lost=tuple(sorted(name for name, good in found.items() if not good)),
        served={},
        unserved=(),
    )


def failed(rows: Sequence[Row]) -> bool:
    """Whether anything was lost, or nothing tested, or an arm left out."""
    return not rows or any(row.lost or row.unserved or not row.passed_through for row in rows)


def shown(rows: Sequence[Row]) -> Table:
    table = Table(title="Passed direct, passed through the gateway")
    for name in ("suite", "way"):
        table.add_column(name, no_wrap=True)
    for name in ("tests", "direct", "through", "lost", "teacher", "student"):
        table.add_column(name, justify="right")
    for row in rows:
        direct = "–" if row.passed_direct is None else row.passed_direct
        served = (row.served.get("teacher", 0), row.served.get("student", 0)) if row.served else ("–", "–")
        table.add_row(row.suite, row.way, *map(str, (row.tests, direct, row.passed_through, len(row.lost), *served)))
    return table


async def run_all(names: Sequence[str], folder: Path) -> list[Row]:
    rows = [row for suite in SUITES if suite.name in names for row in await rows_of(suite, folder / suite.name)]
    if own_api.NAME in names:
        PROGRESS.print(f"{own_api.NAME}: the gateway's own planes")
        rows += [row_of_own(plane, found) for plane, found in (await own_api.run(folder / own_api.NAME)).items()]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="make conformance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=NAMES, action="append", help="one suite; may be repeated")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--keep", type=Path, help="a new folder for the runs' logs and reports")
    given = parser.parse_args()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # ended by `timeout`, it ends what it started, as by Ctrl-C
    chosen = given.only or NAMES
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.keep or Path(scratch)).absolute()
        for name in chosen:
            (folder / name).mkdir(parents=True)
        rows = asyncio.run(run_all(chosen, folder))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1))
    console = Console()
    console.print(shown(rows))
    for row in rows:
        for name in row.lost[:SHOWN]:
            console.print(f"lost ({row.way}): {name}", markup=False, soft_wrap=True)
        for arm in row.unserved:
            console.print(f"{row.suite} ({row.way}): the {arm} served nothing", markup=False, soft_wrap=True)
    return 1 if failed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
