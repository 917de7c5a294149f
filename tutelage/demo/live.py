"""The live demo: nothing recorded. A student is trained for a minute or two, served by a real vLLM, and the gate decides.

The teacher stand-in answers here too, as fast as it can. Training reads the teacher's answers, captured through the gateway.
"""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console

from examples.sections import task as sections
from examples.vllm_cpu.serve import environment_python, vllm_server
from tutelage.demo.record import SIGMA0_SOURCE, TEACHER_VERSION, capture, sigma0_of, teacher, train
from tutelage.demo.run import Stage
from tutelage.demo.scenario import Ending, Scenario
from tutelage.demo.site import ROUTE
from tutelage.demo.task import RUBRICS

CLIENTS = 16
LIVE = Scenario(
    name="live",
    says="A student trained here and now, served by vLLM on this CPU, asks for traffic.",
    student="weak",
    ending=Ending.OPEN,
    limit_s=300.0,
)


@contextlib.asynccontextmanager
async def live_stage(folder: Path, console: Console) -> AsyncIterator[Stage]:
    """Capture, train, serve; minutes. What was made earlier in `folder` is made again: live means live."""
    folder.mkdir(parents=True, exist_ok=True)
    python = environment_python()
    captured = folder / "captured.jsonl"
    began = time.monotonic()
    await capture(captured, folder, python, console)
    model = folder / f"student-{int(time.time())}"
    training = train(captured, model, "quick", python, console)
    trained_until = time.time()
    console.print(f"trained in {training['seconds']:.0f} s; starting vLLM")
    heldout = [row.text for row in sections.read_descriptions("heldout")]
    with vllm_server(model, name="student", python=python, log=folder / "vllm.log") as server:
        console.print(f"vLLM is ready, {time.monotonic() - began:.0f} s after the start")
        async with teacher(folder, python, "none") as teacher_url:
            yield Stage(
                teacher_url=teacher_url,
                teacher_version=TEACHER_VERSION,
                student_url=server.base_url,
                student_version=model.name,
                trained_until=trained_until,
                sigma0=sigma0_of(training),
                sigma0_source=SIGMA0_SOURCE,
                margin=0.05,
                bodies=[sections.chat_request(text, model=ROUTE) for text in heldout],
                clients=CLIENTS,
                rubrics=RUBRICS,
                facts={
                    "live": ["everything: training, vLLM, teacher stand-in, gateway, control, worker"],
                    "recorded": [],
                    "declared": ["prices per token"],
                    "sampling": "held-out inputs drawn with replacement; every request is a session of its own",
                    "training": training,
                },
            )
