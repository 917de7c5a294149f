"""The whole installation under a paced load with every pair shadowed and judged: what one request costs, all told.

The load is paced so that worker and judge can follow; the window ends when the last pair has its verdict. The gateway's cost
holds its shadow calls and the judge's calls, which go through it.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from loadtests.bench.processes import NotStarted, cpu_s
from loadtests.bench.rounds import Load, Rig, asks
from loadtests.bench.systems.base import Target
from loadtests.bench.systems.serving import serving
from loadtests.bench.systems.tutelage import ROUTE, Tutelage
from loadtests.bench.wrk import drive

LOAD = Load(name="paced", connections=8, seconds=5, gap_ms=50)
FOLLOW_S = 90.0
STILL_S = 3.0
"""Verdicts that have not grown for so long are all there are."""
_RUBRIC = {
    "name": "bench",
    "version": 1,
    "criteria": [
        {
            "name": "useful",
            "weight": 1,
            "judge": {"question": "Does it help the person who works the queue?", "scale": 4},
        }
    ],
}


def judged(rig: Rig) -> Mapping[str, float]:
    """CPU µs per request: of the gateway, of the whole installation; and the verdicts per request. Raises NotStarted."""
    rig.say("shadow and judge: the whole installation")
    with tempfile.TemporaryDirectory(prefix="bench-judged-") as place:
        folder = Path(place)
        (folder / "rubrics").mkdir()
        (folder / "rubrics/bench@1.yaml").write_text(yaml.safe_dump(_RUBRIC))
        with serving(folder, _document(rig.upstream)) as site:
            target = Target(name="judged", url=site.url, pid=site.gateway, models=(ROUTE,), keys=(site.key,))
            verdicts = _verdicts(rig)
            gateway_s, whole_s = cpu_s(site.gateway), cpu_s(site.supervisor)
            sent = asks(target, LOAD)
            measured = drive(
                rig.wrk, sent, url=site.url, connections=LOAD.connections, seconds=LOAD.seconds, folder=folder
            )
            if measured.errors:
                raise NotStarted(f"{measured.errors} of {measured.requests} requests failed")
            given = _followed(rig) - verdicts
            requests = measured.requests + LOAD.connections / 2
            return {
                "the gateway": (cpu_s(site.gateway) - gateway_s) / requests * 1e6,
                "gateway, control and worker": (cpu_s(site.supervisor) - whole_s) / requests * 1e6,
                "verdicts per request": given / requests,
            }


def _document(upstream: str) -> Mapping[str, Any]:
    document = Tutelage(shadow="100%").document(upstream)
    document["upstreams"]["judge"] = {"kind": "openai", "base_url": f"{upstream}/judge/v1", "model": "judge-1"}
    for route in document["routes"].values():
        route |= {"rubric": "bench@1", "judge": {"upstream": "judge", "rate": "100%"}}
    return document


def _followed(rig: Rig) -> int:
    """Verdicts given, once there have been no more for STILL_S."""
    deadline, changed = time.monotonic() + FOLLOW_S, time.monotonic()
    verdicts = _verdicts(rig)
    while time.monotonic() < deadline and time.monotonic() - changed < STILL_S:
        time.sleep(0.25)
        now = _verdicts(rig)
        if now != verdicts:
            verdicts, changed = now, time.monotonic()
    return verdicts


def _verdicts(rig: Rig) -> int:
    counted: int = httpx.get(f"{rig.upstream}/stats", trust_env=False).json()["verdicts"]
    return counted
