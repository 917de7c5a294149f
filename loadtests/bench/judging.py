"""The whole installation under a paced load with every pair shadowed and judged: what one request costs, all told.

`tutelage serve` as users run it. The load is paced so that worker and judge can follow; the window ends when the last pair
has its verdict. The gateway's cost holds its shadow calls and the judge's calls, which go through it.
"""

import contextlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from loadtests.bench.processes import NotStarted, cpu_s, running, tree
from loadtests.bench.rounds import Load, Rig, asks
from loadtests.bench.systems.base import Place, Target, free_port
from loadtests.bench.systems.tutelage import COMMAND, ENVIRONMENT, ROUTE, Tutelage, new_key, wait_until_published
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
    with tempfile.TemporaryDirectory(prefix="bench-judged-") as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        rig.say("shadow and judge: the whole installation")
        target, supervisor = _started(Place(upstream=rig.upstream, folder=folder), stack)
        gateway = _gateway(supervisor)
        verdicts = _verdicts(rig)
        before = cpu_s(gateway), cpu_s(supervisor)
        measured = drive(
            rig.wrk,
            asks(target, LOAD),
            url=target.url,
            connections=LOAD.connections,
            seconds=LOAD.seconds,
            folder=folder,
        )
        if measured.errors:
            raise NotStarted(f"{measured.errors} of {measured.requests} requests failed")
        given = _followed(rig) - verdicts
        requests = measured.requests + LOAD.connections / 2
        return {
            "the gateway": (cpu_s(gateway) - before[0]) / requests * 1e6,
            "gateway, control and worker": (cpu_s(supervisor) - before[1]) / requests * 1e6,
            "verdicts per request": given / requests,
        }


def _started(place: Place, stack: contextlib.ExitStack) -> tuple[Target, int]:
    port, admin_port = free_port(), free_port()
    configuration = place.folder / "tutelage.yaml"
    rubrics = place.folder / "rubrics"
    rubrics.mkdir()
    (rubrics / "bench@1.yaml").write_text(yaml.safe_dump(_RUBRIC))
    configuration.write_text(yaml.safe_dump(_document(place, port, admin_port), sort_keys=False))
    key = new_key(configuration)
    url = f"http://127.0.0.1:{port}"
    serve = [*COMMAND, "serve", "--config", str(configuration)]
    log = place.folder / "serve.log"
    supervisor = stack.enter_context(running(serve, log=log, ready_url=f"{url}/readyz", environment=ENVIRONMENT))
    wait_until_published(configuration)
    return Target(name="judged", url=url, pid=supervisor, models=(ROUTE,), keys=(key,)), supervisor


def _document(place: Place, port: int, admin_port: int) -> dict[str, Any]:
    document = Tutelage(shadow="100%").document(place, port, admin_port)
    judge = {"kind": "openai", "base_url": f"{place.upstream}/judge/v1", "model": "judge-1"}
    document["upstreams"]["judge"] = judge
    document["internal"] = {"gateway_url": f"http://127.0.0.1:{port}"}
    document["rubrics"] = str(place.folder / "rubrics")
    for route in document["routes"].values():
        route |= {"rubric": "bench@1", "judge": {"upstream": "judge", "rate": "100%"}}
    return document


def _gateway(supervisor: int) -> int:
    """The pid of the gateway among the supervisor's children."""
    for stat in tree(supervisor):
        if b"\0-m\0gateway\0" in Path(f"/proc/{stat.pid}/cmdline").read_bytes():
            return stat.pid
    raise NotStarted("tutelage serve has no gateway process")


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
