"""A whole installation in front of a real vLLM on this CPU: random weights, so that nothing is tested but the wire.

The teacher is a scripted server; student and judge are one vLLM with two models' names, since a model may not judge itself.
"""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from examples.vllm_cpu.serve import Server, environment_python, vllm_server
from tests.gateway.model_server import answering, model_server
from tutelage.demo.site import ROUTE, Site, running_site

ROOT = Path(__file__).parents[2]
RUBRIC = """
name: kind
version: 1
criteria:
  - name: kind
    weight: 1
    judge: {question: "Is the answer kind?", scale: 4}
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    python, folder = environment_python(), tmp_path_factory.mktemp("vllm")
    model = folder / "model"
    subprocess.run([str(python), "-m", "examples.vllm_cpu.random_model", str(model)], cwd=ROOT, check=True)
    options = ("--max-model-len", "8192", "--served-model-name", "student", "judge")
    with vllm_server(model, name="student", python=python, options=options, log=folder / "vllm.log") as server:
        yield server


@pytest.fixture(scope="module")
async def site(vllm: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    rubrics = folder / "rubrics"
    rubrics.mkdir()
    (rubrics / "kind@1.yaml").write_text(RUBRIC)
    real = {"kind": "vllm", "base_url": vllm.base_url, "trained_until": 1.0}
    can = {"tools": True, "structured": True, "logprobs": True}
    async with model_server("teacher", answering("a kind answer of the teacher")) as teacher:
        document = {
            "rubrics": str(rubrics),
            "upstreams": {
                "big": {"kind": "openai", "base_url": teacher.url, "model": "big-1"},
                "small": {**real, "model": "student", "can": can},
                "judge": {**real, "model": "judge", "can": can},
            },
            "routes": {
                ROUTE: {
                    "teacher": "big",
                    "student": "small",
                    "share": "100%",
                    "capture": {"content": "full", "purpose": "tests"},
                    "shadow": {"student": "100%", "teacher": "100%"},
                    "unit": "request",
                    "rubric": "kind@1",
                    "judge": {"upstream": "judge"},
                }
            },
        }
        async with running_site(folder, document) as running:
            yield running
