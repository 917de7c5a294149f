"""Where the demo's task is kept in a checkout, and how its recorded upstreams are set on stage.

The task itself (inputs, labels, rubric, teacher, students, recording) is `examples/sections`.
"""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from tutelage.contracts.errors import ConfigurationError
from tutelage.demo.recording import WEAK, read
from tutelage.demo.run import Stage
from tutelage.demo.scenario import Scenario
from tutelage.demo.site import ROUTE, free_port, running_process

ROOT = Path(__file__).resolve().parents[2]
TASK = ROOT / "examples" / "sections"
RECORDING = TASK / "recording" / "matrix.jsonl.gz"
PROVENANCE = TASK / "recording" / "provenance.json"
RUBRICS = TASK / "rubrics"
CLIENTS = 24


def provenance() -> dict[str, Any]:
    """How the recording was made. Raises ConfigurationError outside a checkout."""
    try:
        document: dict[str, Any] = json.loads(PROVENANCE.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ConfigurationError(f"the demo runs in a checkout of the project: {PROVENANCE}: {fault}") from fault
    return document


@contextlib.asynccontextmanager
async def recorded_stage(scenario: Scenario, folder: Path, latency: str) -> AsyncIterator[Stage]:
    """Teacher and student replayed from the recording, `latency` "none" or "recorded"."""
    made, rows, port = provenance(), read(RECORDING), free_port()
    from examples.sections.task import chat_request  # there in a checkout, which `provenance` has made sure of

    url = f"http://127.0.0.1:{port}"
    folder.mkdir(parents=True, exist_ok=True)
    replay = [sys.executable, "-m", "tutelage.demo.replay", "--recording", str(RECORDING), "--port", str(port)]
    argv = [*replay, "--student", scenario.student, "--latency", latency]

    async def degrade() -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{url}/student", content=WEAK)).raise_for_status()

    student = made["models"][scenario.student]
    async with running_process(argv, log=folder / "replay.log", ready_url=f"{url}/health"):
        yield Stage(
            teacher_url=f"{url}/teacher/v1",
            teacher_version=made["models"]["teacher"]["version"],
            student_url=f"{url}/student/v1",
            student_version=student["version"],
            trained_until=made["trained_until"],
            sigma0=student["sigma0"],
            sigma0_source=student["sigma0_source"],
            margin=made["margin"],
            bodies=[chat_request(row.input, model=ROUTE) for row in rows.values()],
            clients=CLIENTS,
            rubrics=RUBRICS,
            degrade=degrade,
            facts={
                "live": ["gateway", "control", "worker", "HTTP", "pairs", "scores", "evidence", "decisions"],
                "recorded": ["answers of teacher and students", "their token counts", *_latency_fact(latency)],
                "declared": ["prices per token"],
                "sampling": "inputs drawn with replacement; every request is a session of its own",
            },
        )


def _latency_fact(latency: str) -> list[str]:
    return ["their latencies"] if latency == "recorded" else []
