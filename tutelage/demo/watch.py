"""Watching: reads the admin plane while the demo runs, keeps what it read, and shows it.

A `Reading` is what the admin API said at one moment, beside the clients' own count. Must not change anything.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tutelage.demo.driver import Tally
from tutelage.demo.site import ROUTE, Site

EVERY_S = 0.5
PLAIN_EVERY_S = 5.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `at_s` counts from the start of the run; `log_e` and `threshold` belong to the next rung."""

    at_s: float
    requests: int
    errors: int
    pairs: int
    scores: int
    phase: str
    share_bp: int
    log_e: float
    threshold: float | None
    mean_d: float | None
    fresh_log_e: float
    fresh_threshold: float | None
    detectors: dict[str, float]
    holds: tuple[str, ...]


class Watch:
    """Looks at `site` until stopped; `on_reading` is told of every look."""

    def __init__(self, site: Site, tally: Tally, on_reading: Callable[[Reading], None]) -> None:
        self._tally = tally
        self._on_reading = on_reading
        self._began = time.monotonic()
        self._http = httpx.AsyncClient(
            base_url=f"{site.admin_url}/admin/routes/{ROUTE}",
            headers={"authorization": f"Bearer {site.admin_key}"},
            timeout=10.0,
            trust_env=False,
        )
        self.readings: list[Reading] = []
        self.route: dict[str, Any] = {}

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    async def run(self) -> None:
        """Look every half second until cancelled. A control that is being restarted is asked again."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> Reading:
        """One look. Raises httpx.HTTPError where the admin plane does not answer."""
        route, gates = await self._get(""), await self._get("/gates")
        self.route = route
        reading = _reading(self.elapsed_s, self._tally, route, gates)
        self.readings.append(reading)
        self._on_reading(reading)
        return reading

    async def history(self) -> list[dict[str, Any]]:
        """The route's decisions, oldest first."""
        decisions: list[dict[str, Any]] = (await self._get("/history"))["decisions"]
        return sorted(decisions, key=lambda decision: (decision["at"], decision["revision_to"]))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _get(self, path: str) -> dict[str, Any]:
        reply = await self._http.get(path)
        reply.raise_for_status()
        document: dict[str, Any] = reply.json()
        return document


def _reading(at_s: float, tally: Tally, route: dict[str, Any], gates: dict[str, Any]) -> Reading:
    quality: dict[str, Any] = next(iter(gates["cells"]), {})
    fresh = gates.get("fresh") or {}
    queue = route["queue"]
    return Reading(
        at_s=round(at_s, 2),
        requests=tally.requests,
        errors=tally.errors,
        pairs=queue["waiting"] + queue["scored"],
        scores=queue["scored"],
        phase=route["phase"],
        share_bp=route["share_in_force_bp"],
        log_e=quality.get("log_e") or 0.0,
        threshold=quality.get("threshold"),
        mean_d=quality.get("mean_d"),
        fresh_log_e=fresh.get("log_e") or 0.0,
        fresh_threshold=fresh.get("threshold"),
        detectors=gates.get("detectors", {}),
        holds=tuple(route["holds"]),
    )


class Screen:
    """Shows readings: a live table on a terminal, a line every five seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._next_s = 0.0
        self._share_bp = -1

    def __enter__(self) -> "Screen":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, reading: Reading) -> None:
        if self._live is not None:
            self._live.update(_table(reading))
        elif reading.at_s >= self._next_s or reading.share_bp != self._share_bp:
            self._console.print(_line(reading), soft_wrap=True, highlight=False, markup=False)
            self._next_s = reading.at_s + PLAIN_EVERY_S
            self._share_bp = reading.share_bp


def _against(value: float, threshold: float | None) -> str:
    return f"{value:6.2f} of {threshold:.2f}" if threshold is not None else f"{value:6.2f}"


def _line(reading: Reading) -> str:
    held = f"  held: {', '.join(reading.holds)}" if reading.holds else ""
    return (
        f"{reading.at_s:6.1f} s  {reading.requests:7,} requests  {reading.pairs:6,} pairs  {reading.scores:6,} scores  "
        f"log E {_against(reading.log_e, reading.threshold)}  "
        f"fresh {_against(reading.fresh_log_e, reading.fresh_threshold)}  "
        f"share {reading.share_bp / 100:g} %  {reading.phase}{held}"
    )


def _table(reading: Reading) -> Table:
    table = Table.grid(padding=(0, 2))
    mean_d = "-" if reading.mean_d is None else f"{reading.mean_d:+.4f}"
    rows = (
        ("time", f"{reading.at_s:.1f} s"),
        ("requests", f"{reading.requests:,} ({reading.errors} errors)"),
        ("pairs · scores", f"{reading.pairs:,} · {reading.scores:,}   mean d {mean_d}"),
        ("log E", f"{_against(reading.log_e, reading.threshold)}   {_bar(reading.log_e, reading.threshold)}"),
        ("fresh key", f"{_against(reading.fresh_log_e, reading.fresh_threshold)}"),
        ("detectors", "  ".join(f"{name} {value:.1f}" for name, value in reading.detectors.items())),
        ("share", f"{reading.share_bp / 100:g} %   {_bar(reading.share_bp, 10_000)}"),
        ("phase", f"{reading.phase} {', '.join(reading.holds)}"),
    )
    for name, value in rows:
        table.add_row(name, value)
    return table


def _bar(value: float, full: float | None) -> str:
    if not full:
        return ""
    filled = round(30 * min(max(value / full, 0.0), 1.0))
    return "█" * filled + "·" * (30 - filled)
