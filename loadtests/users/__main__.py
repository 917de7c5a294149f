"""The load test's command: `python -m loadtests.users --shape ramp|spike|soak [--users mixed] [--minutes 1]`.

Starts a model server and a whole installation (capture, redaction, shadow, a split), lets locust's users at it and compares
their books with the gateway's. Ends by itself; exit code 1 where a limit was not kept.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from loadtests.bench.__main__ import model_server, say
from loadtests.bench.processes import memory_mb
from loadtests.bench.systems.serving import Serving, serving
from loadtests.bench.systems.tutelage import ROUTE, Tutelage
from loadtests.users.shapes import SHAPES
from loadtests.users.verdict import Books, Client, Sample, judged, text

USERS = {"chat": "Chat", "streaming": "Streaming", "mixed": "Mixed"}
RESULTS = Path("data/loadtest")
SAMPLE_S = 1.0
ENDING_S = 60
DURABLE_S = 10.0
LOCUSTFILE = Path(__file__).with_name("locustfile.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """Which users come, how many of them when, and for how long."""

    users: str
    shape: str
    duration_s: float


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=tuple(SHAPES), default="ramp")
    parser.add_argument("--users", choices=tuple(USERS), default="mixed")
    parser.add_argument("--minutes", type=float, default=1.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as place, model_server() as upstream:
        folder = Path(place)
        say(f"starting: {given.users} users, {given.shape}, {given.minutes:g} min")
        with serving(folder, Tutelage(shadow="20%").document(upstream)) as site:
            memory: list[Sample] = []
            test = Test(users=USERS[given.users], shape=given.shape, duration_s=given.minutes * 60)
            client = _attack(site, test, folder, memory)
            books = _balanced(site)
    rows = judged(client, books, memory)
    report = text(rows, client)
    say("")
    print(report)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{given.shape}-{given.users}.txt").write_text(report + "\n", encoding="utf-8")
    return 0 if all(row.passed for row in rows) else 1


def _attack(site: Serving, test: Test, folder: Path, memory: list[Sample]) -> Client:
    """Let locust run to its end, weighing the gateway meanwhile; what its clients counted."""
    counts = folder / "counts.json"
    command = [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), test.users, "--headless", "--host", site.url),
        *("--shape", test.shape, "--duration-s", str(test.duration_s), "--model", ROUTE, "--counts", str(counts)),
        *("--stop-timeout", str(ENDING_S), "--only-summary", "--exit-code-on-error", "0", "--key", site.key),
    ]
    over = threading.Event()

    def weigh() -> None:
        began = time.monotonic()
        while not over.wait(SAMPLE_S):
            memory.append((time.monotonic() - began, memory_mb(site.gateway)))

    weighing = threading.Thread(target=weigh)
    weighing.start()
    try:
        log = folder / "locust.log"
        with log.open("w") as output:
            done = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, check=False, timeout=test.duration_s + 2 * ENDING_S
            )
    finally:
        over.set()
        weighing.join()
    if not counts.exists():
        raise SystemExit(f"locust ended with {done.returncode} and counted nothing: {log.read_text()[-1_000:]}")
    return Client(**json.loads(counts.read_text()))


def _balanced(site: Serving) -> Books:
    """The gateway's books, once its queue is empty or DURABLE_S are over."""
    deadline = time.monotonic() + DURABLE_S
    while True:
        books = read(httpx.get(site.metrics_url, trust_env=False).text)
        if books.in_queue == 0 or time.monotonic() > deadline:
            return books
        time.sleep(0.1)


def read(exposition: str) -> Books:
    """The books in a gateway's metrics."""
    by_status: dict[str, float] = {}
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
            if sample.name == "tutelage_gateway_requests_total":
                status = sample.labels["status"]
                by_status[status] = by_status.get(status, 0.0) + sample.value
    return Books(
        by_status=by_status,
        eligible=sums["tutelage_gateway_capture_eligible_total"],
        durable=sums["tutelage_gateway_capture_durable_total"],
        dropped=sums.get("tutelage_gateway_capture_dropped_total", 0.0),
        in_queue=sums["tutelage_gateway_capture_in_queue"],
    )


if __name__ == "__main__":
    sys.exit(main())
