"""One run of the demo: set up a site in front of a stage, send requests, watch, and say what happened.

A `Stage` is what stands behind the gateway: recorded or live upstreams. Everything from the gateway on is the real thing.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from tutelage.contracts.errors import TutelageError
from tutelage.demo import picture, summary
from tutelage.demo.driver import Driver
from tutelage.demo.scenario import Ending, Scenario, ended_as
from tutelage.demo.site import ROUTE, Site, running_site
from tutelage.demo.watch import EVERY_S, Reading, Screen, Watch

STAGES = ("0%", "5%", "10%", "25%", "50%", "90%")
AFTER_TOP_S = 5.0
SETTLE_S = 20.0
FINAL = ("COMPLETE", "ROLLED_BACK")
SEED = 20_261_122


class DemoEnded(TutelageError):
    """The demo could not go on: a request failed. The message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What stands behind the gateway. `bodies` are the requests that clients may send; `degrade` makes the student worse
    behind an unchanged version; `facts` say in the summary what was live and what was recorded."""

    teacher_url: str
    teacher_version: str
    student_url: str
    student_version: str
    trained_until: float
    sigma0: float
    sigma0_source: str
    margin: float
    bodies: Sequence[Mapping[str, Any]]
    clients: int
    rubrics: Path
    degrade: Callable[[], Awaitable[None]] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The configuration of the demo's site, without places and ports."""
        teacher_cost = {"prompt_usd_per_mtok": 2.0, "completion_usd_per_mtok": 8.0}
        student_cost = {"prompt_usd_per_mtok": 0.02, "completion_usd_per_mtok": 0.04}
        return {
            "rubrics": str(self.rubrics),
            "upstreams": {
                "sections-teacher": {
                    "kind": "openai",
                    "base_url": self.teacher_url,
                    "model": "sections-teacher",
                    "version": self.teacher_version,
                    "training_use": "allowed",
                    "cost": teacher_cost,
                },
                "sections-student": {
                    "kind": "vllm",
                    "base_url": self.student_url,
                    "model": "student",
                    "version": self.student_version,
                    "trained_until": self.trained_until,
                    "cost": student_cost,
                },
            },
            "routes": {ROUTE: self._route()},
            "limits": {"shadows": 512},
        }

    def _route(self) -> dict[str, Any]:
        return {
            "teacher": "sections-teacher",
            "student": "sections-student",
            "capture": {"content": "full", "purpose": "show how a student earns its traffic"},
            "shadow": {"student": "100%", "teacher": "100%"},
            "unit": "request",
            "rubric": "sections@1",
            "rollout": {
                "stages": list(STAGES),
                "margin": self.margin,
                "sigma0": self.sigma0,
                "sigma0_source": self.sigma0_source,
                "dwell": "0s",
                # Load generator, gateway and both arms share one machine: its speed says nothing of the student's.
                "gates": {"guardrails": {"slow_first_token": None, "slow_total": None}},
            },
        }


async def play(
    scenario: Scenario, stage: Stage, folder: Path, console: Console, places: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Run `scenario` on `stage`; returns the summary, left in `folder` beside `rollout.png`. Raises DemoEnded or SiteFailed.

    `places` are the sections `gateway` and `admin` of the site's configuration; without them it takes free ports.
    """
    site_folder = folder / scenario.name
    shutil.rmtree(site_folder, ignore_errors=True)
    began = time.time()
    async with running_site(site_folder, {**stage.document(), **(places or {})}) as site:
        watch, driver, history = await _drive(site, scenario, stage, console)
    document = summary.summarise(
        last=watch.readings[-1],
        tally_errors=driver.tally.errors,
        total=summary.counted(site.data_dir),
        economics=watch.route["economics"],
        history=history,
        scenario=scenario.name,
        expected=scenario.ending.value,
        began_at=began,
        duration_s=round(watch.elapsed_s, 1),
        client_requests=driver.tally.requests,
        **stage.facts,
    )
    document["as_expected"] = _met(scenario, watch.readings, history)
    summary.write(folder / "summary.json", document)
    picture.draw(folder / "rollout.png", watch.readings, f"{scenario.name}: {scenario.says}")
    if driver.tally.first_error is not None:
        raise DemoEnded(f"a request failed and the demo ended: {driver.tally.first_error}")
    return document


async def _drive(
    site: Site, scenario: Scenario, stage: Stage, console: Console
) -> tuple[Watch, Driver, list[dict[str, Any]]]:
    """Send and watch until the scenario is over, then until every pair is judged."""
    driver = Driver(url=site.url, key=site.key, bodies=stage.bodies, clients=stage.clients, seed=SEED)
    with Screen(console) as screen:
        watch = Watch(site, driver.tally, screen.show)
        async with contextlib.aclosing(watch):
            await watch.look()
            watching = asyncio.create_task(watch.run())
            driving = asyncio.create_task(driver.run())
            try:
                await _until_over(watch, driving, scenario, stage)
                driver.stop()
                await driving
                await _until_judged(watch)
            finally:
                driver.stop()
                watching.cancel()
                await asyncio.gather(watching, driving, return_exceptions=True)
            await watch.look()
            return watch, driver, await watch.history()


async def _until_over(watch: Watch, driving: "asyncio.Task[None]", scenario: Scenario, stage: Stage) -> None:
    """Return when the scenario has come to its end, the time is up, or the driver has stopped by itself (an error)."""
    degraded = False
    while watch.elapsed_s < scenario.limit_s and not driving.done():
        last = watch.readings[-1]
        if not degraded and scenario.degrades_at_bp is not None and last.share_bp >= scenario.degrades_at_bp:
            degraded = True
            if stage.degrade is not None:
                await stage.degrade()
        if _over(scenario, last):
            await asyncio.wait([driving], timeout=AFTER_TOP_S)
            return
        await asyncio.wait([driving], timeout=EVERY_S)


def _over(scenario: Scenario, last: Reading) -> bool:
    if scenario.degrades_at_bp is not None:
        return last.phase == "ROLLED_BACK"
    return last.phase in FINAL or "futility" in last.holds


async def _until_judged(watch: Watch) -> None:
    """Let control and worker finish what was captured; bounded."""
    deadline_s = watch.elapsed_s + SETTLE_S
    while watch.elapsed_s < deadline_s:
        before = watch.readings[-1]
        await asyncio.sleep(2 * EVERY_S)
        after = watch.readings[-1]
        if after.scores == after.pairs == before.pairs and after.at_s > before.at_s:
            return


def _met(scenario: Scenario, readings: Sequence[Reading], history: Sequence[Mapping[str, Any]]) -> bool | None:
    if scenario.ending is Ending.OPEN:
        return None
    return ended_as(
        scenario.ending,
        [reading.phase for reading in readings],
        [reading.share_bp for reading in readings],
        [decision["event"] for decision in history],
    )
