"""Making the recording: capture through the gateway, distil, serve from vLLM, ask every model everything.

    1. the teacher stand-in answers the `capture` parts through the real gateway; the spool holds its answers
    2. the students are distilled from what was captured, by `examples.sections.student`
    3. every held-out input is asked of the teacher, of the good and of the weak student, each served for real
    4. the matrix and where it comes from are written to `examples/sections/recording`

Every step leaves a file under the work folder and is skipped where that file is there already. Hours are fine; it takes
about one. Needs what `examples/vllm_cpu/install.sh` installs.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import track

from examples.sections import task as sections
from examples.sections.captured import Captured, write_captured
from examples.vllm_cpu.serve import environment_python, vllm_server
from tutelage.capture.spooled import read_spooled
from tutelage.contracts.records import Exchange
from tutelage.demo.recording import GOOD, MODELS, TEACHER, WEAK, Recorded, Row, key_of, write
from tutelage.demo.scorecard import scorecard
from tutelage.demo.site import ROUTE, Site, free_port, running_process, running_site
from tutelage.demo.task import PROVENANCE, RECORDING, ROOT
from tutelage.store import spool

RECIPES = {GOOD: "good", WEAK: "quick"}
CAPTURE_CLIENTS = 16
ASK_CLIENTS = 4
TEACHER_READY_S = 300.0
MARGINS = (0.05, 0.10)
TEACHER_VERSION = "linear-2026-11"
SIGMA0_SOURCE = "1.1 x sqrt(disagreement with the teacher on captured rows kept out of training)"


async def record(folder: Path, console: Console) -> Mapping[str, Any]:
    """Make the recording; returns its provenance. What is in `folder` already is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    python = environment_python()
    captured = folder / "captured.jsonl"
    if not captured.exists():
        await capture(captured, folder, python, console)
    trained = {name: train(captured, folder / name, recipe, python, console) for name, recipe in RECIPES.items()}
    answers = {name: await _answers(name, folder, python, console) for name in MODELS}
    return _written(answers, trained, captured)


@contextlib.asynccontextmanager
async def teacher(folder: Path, python: Path, latency: str) -> AsyncIterator[str]:
    """The teacher stand-in, running; yields its base URL."""
    port = free_port()
    argv = [str(python), "-m", "examples.sections.teacher", "--port", str(port), "--latency", latency]
    health = f"http://127.0.0.1:{port}/health"
    async with running_process(argv, log=folder / "teacher.log", ready_url=health, ready_s=TEACHER_READY_S):
        yield f"http://127.0.0.1:{port}/v1"


# --- 1. capture -------------------------------------------------------------------------------------------------------


async def capture(target: Path, folder: Path, python: Path, console: Console) -> None:
    """Send the capture parts through a gateway in front of the teacher; write what its spool holds to `target`."""
    texts = [row.text for row in sections.read_descriptions("capture", "capture_other")]
    async with teacher(folder, python, "none") as url, running_site(folder / "capture", _capture_site(url)) as site:
        console.print(f"capturing the teacher's answers to {len(texts):,} descriptions through {site.url}")
        await _send_all(site, texts)
    rows = captured_rows(site.data_dir)
    if len(rows) != len(set(texts)):
        raise RuntimeError(f"{len(set(texts))} descriptions were sent, {len(rows)} answers were captured")
    partial = target.with_suffix(".part")
    write_captured(rows, partial)
    partial.rename(target)


def _capture_site(teacher_url: str) -> dict[str, Any]:
    upstream = {"kind": "openai", "base_url": teacher_url, "model": "sections-teacher", "training_use": "allowed"}
    policy = {"content": "full", "purpose": "train the sections student"}
    return {
        "upstreams": {"sections-teacher": upstream},
        "routes": {ROUTE: {"teacher": "sections-teacher", "capture": policy}},
        "limits": {"spool_records": 100_000},
    }


async def _send_all(site: Site, texts: Sequence[str]) -> None:
    bodies = [sections.chat_request(text, model=ROUTE, top_logprobs=len(sections.SECTIONS)) for text in texts]
    headers = {"authorization": f"Bearer {site.key}"}
    async with aiohttp.ClientSession(f"{site.url}/", headers=headers) as http:
        await _over(bodies, CAPTURE_CLIENTS, lambda body: _post(http, "v1/chat/completions", body))


def captured_rows(data_dir: Path) -> list[Captured]:
    """The captured answers as the students' training reads them, by input."""
    rows: dict[str, Captured] = {}
    for path in spool.spools(data_dir).values():
        position = 0
        while found := spool.read_after(path, position, 1_000):
            position = found[-1].sequence
            for spooled in (read_spooled(row.body) for row in found):
                if isinstance(spooled, Exchange) and (row := _captured(spooled)) is not None:
                    rows[row.input] = row
    return [rows[text] for text in sorted(rows)]


def _captured(exchange: Exchange) -> Captured | None:
    answer = exchange.attempts[-1].answer if exchange.attempts else None
    if answer is None or exchange.request is None or exchange.truncated or not exchange.policy.train:
        return None
    first = answer.logprobs["content"][0]["top_logprobs"] if answer.logprobs else None
    return Captured(
        input=sections.last_user_text(exchange.request["messages"]),
        answer=answer.text or "",
        top_logprobs={entry["token"]: entry["logprob"] for entry in first} if first else None,
    )


# --- 2. distil --------------------------------------------------------------------------------------------------------


def train(captured: Path, target: Path, recipe: str, python: Path, console: Console) -> dict[str, Any]:
    """Distil one student into `target`; returns its training record."""
    record_file = target / "training.json"
    if not record_file.exists():
        console.print(f"training the {target.name} student (recipe {recipe})")
        command = [str(python), "-m", "examples.sections.student", "--captured", str(captured)]
        subprocess.run([*command, "--recipe", recipe, "--out", str(target)], cwd=ROOT, check=True)
    document: dict[str, Any] = json.loads(record_file.read_text(encoding="utf-8"))
    return document


def sigma0_of(training: Mapping[str, Any]) -> float:
    """The sd of d to plan with: d differs from 0 only where the arms disagree, so that rate bounds its variance."""
    return float(min(1.0, 1.1 * (1.0 - training["agreement"]) ** 0.5))


# --- 3. ask -----------------------------------------------------------------------------------------------------------


async def _answers(name: str, folder: Path, python: Path, console: Console) -> dict[str, Recorded]:
    """Every held-out input asked of one model, by text; kept in the folder."""
    kept = folder / f"{name}.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=dict[str, Recorded])
    async with _served(name, folder, python) as (url, model):
        answers = await _asked(url, model, console)
    kept.write_bytes(msgspec.json.encode(answers))
    return answers


@contextlib.asynccontextmanager
async def _served(name: str, folder: Path, python: Path) -> AsyncIterator[tuple[str, str]]:
    """One of the recorded models, served for real; yields its base URL and the name that it goes by there."""
    if name == TEACHER:
        async with teacher(folder, python, "provider") as url:
            yield url, "sections-teacher"
    else:
        with vllm_server(folder / name, name="student", python=python, log=folder / f"vllm-{name}.log") as server:
            yield server.base_url, "student"


async def _asked(url: str, model: str, console: Console) -> dict[str, Recorded]:
    texts = [row.text for row in sections.read_descriptions("heldout")]
    console.print(f"asking {len(texts):,} held-out inputs of {model} at {url}")
    answers: dict[str, Recorded] = {}
    async with aiohttp.ClientSession(f"{url}/") as http:

        async def ask(text: str) -> None:
            began = time.perf_counter()
            body = await _post(http, "chat/completions", sections.chat_request(text, model=model))
            answers[text] = Recorded(total_ms=round((time.perf_counter() - began) * 1000, 2), body=body)

        await _over(texts, ASK_CLIENTS, ask)
    return answers


async def _post(http: aiohttp.ClientSession, path: str, body: Mapping[str, Any]) -> str:
    async with http.post(path, json=body) as reply:
        text = await reply.text()
        if reply.status != 200:
            raise RuntimeError(f"{reply.url} answered {reply.status}: {text[:500]}")
        return text


async def _over(items: Sequence[Any], clients: int, act: Any) -> None:
    """`act` on every item, `clients` at a time, with a progress bar."""
    pending = iter(track(items, description="", transient=True))

    async def client() -> None:
        for item in pending:
            await act(item)

    await asyncio.gather(*(client() for _ in range(clients)))


# --- 4. write ---------------------------------------------------------------------------------------------------------


def _written(
    answers: Mapping[str, Mapping[str, Recorded]], trained: Mapping[str, Mapping[str, Any]], captured: Path
) -> dict[str, Any]:
    labels = {row.text: row.section or "" for row in sections.read_descriptions("heldout")}
    rows = []
    for text in labels:
        messages = sections.chat_request(text, model=ROUTE)["messages"]
        given = {name: answers[name][text] for name in MODELS}
        rows.append(Row(messages_sha256=key_of(messages), input=text, answers=given))
    write(RECORDING, rows)
    card = scorecard(rows, labels)
    gap = -card[GOOD]["mean_d"]
    made = {
        "recorded_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": "make record",
        "python": sys.version.split()[0],
        "inputs": "part heldout of examples/sections/data (see its README for origin and terms)",
        "system_prompt": sections.SYSTEM_PROMPT,
        "captured_through_the_gateway": sum(1 for _ in captured.open(encoding="utf-8")),
        "trained_until": captured.stat().st_mtime,
        "margin": next((margin for margin in MARGINS if gap <= margin / 2), MARGINS[-1]),
        "models": {name: _model(name, trained.get(name), card[name]) for name in MODELS},
    }
    PROVENANCE.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return made


def _model(name: str, training: Mapping[str, Any] | None, card: Mapping[str, float]) -> dict[str, Any]:
    if training is None:
        return {"version": TEACHER_VERSION, "what": "a linear model behind an OpenAI-shaped server", "heldout": card}
    return {
        "version": f"{name}-1",
        "what": "a causal language model served by vLLM on CPU",
        "training": training,
        "heldout": card,
        "sigma0": round(sigma0_of(training), 3),
        "sigma0_source": SIGMA0_SOURCE,
    }
