"""Compares students with their teacher on the held-out part, in process or as served.

Owns the table of the README: accuracy against the archive's label, agreement with the teacher, and the paired
difference that the gate works on. Nothing is trained here, and nothing here may be used for training. Directories are
loaded in process; addresses are asked over HTTP, one request at a time, as an application would. Runs in the
environment of `examples/vllm_cpu/install.sh`:

    python -m examples.sections.compare DIR… [http://127.0.0.1:PORT/v1=MODEL …]

Another column is another field of `Line`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.sections import teacher
from examples.sections.task import Description, chat_request, read_descriptions

BATCH = 100
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table. `latency_ms` is the median over single requests, None where the model ran in process."""

    name: str
    accuracy: float
    agreement: float
    mean_d: float
    sd_d: float
    latency_ms: float | None

    def __str__(self) -> str:
        latency = f", {self.latency_ms:.0f} ms per answer" if self.latency_ms is not None else ""
        return (
            f"{self.name}: accuracy {self.accuracy:.1%}, agrees with the teacher on {self.agreement:.1%}, "
            f"d {self.mean_d:+.4f}, sd {self.sd_d:.3f}{latency}"
        )


def compare(
    name: str, said: Sequence[str], taught: Sequence[str], rows: Sequence[Description], latency_ms: float | None = None
) -> Line:
    """Work out one line from the student's and the teacher's answers to the same rows."""
    differences = [
        (mine == row.section) - (theirs == row.section) for mine, theirs, row in zip(said, taught, rows, strict=True)
    ]
    return Line(
        name=name,
        accuracy=statistics.fmean(mine == row.section for mine, row in zip(said, rows, strict=True)),
        agreement=statistics.fmean(mine == theirs for mine, theirs in zip(said, taught, strict=True)),
        mean_d=statistics.fmean(differences),
        sd_d=statistics.pstdev(differences),
        latency_ms=latency_ms,
    )


@torch.no_grad()
def answers_in_process(directory: Path, texts: Sequence[str]) -> list[str]:
    """Return the likeliest first token of each answer, out of the whole vocabulary, after the chat template."""
    words = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    said: list[str] = []
    for start in range(0, len(texts), BATCH):
        chats = [chat_request(text, model="")["messages"] for text in texts[start : start + BATCH]]
        spelt = [words(words.apply_chat_template(chat, tokenize=False), add_special_tokens=False) for chat in chats]
        ids = [torch.tensor(one.input_ids) for one in spelt]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=words.pad_token_id)
        last = torch.tensor([len(one) - 1 for one in ids])
        best = model(input_ids=padded).logits[torch.arange(len(ids)), last].argmax(dim=1)
        said += [words.decode([int(token)]) for token in best]
    return said


def answers_served(base_url: str, model: str, texts: Sequence[str]) -> tuple[list[str], float]:
    """Return the answers of a server and the median time of one, in milliseconds."""
    said, times_ms = [], []
    for text in texts:
        body = json.dumps(chat_request(text, model=model)).encode()
        request = urllib.request.Request(
            f"{base_url}/chat/completions", data=body, headers={"content-type": "application/json"}
        )
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            said.append(json.load(answer)["choices"][0]["message"]["content"])
        times_ms.append(1_000 * (time.perf_counter() - began))
    return said, statistics.median(times_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("students", nargs="*", help="a model directory, or BASE_URL=MODEL of a server")
    arguments = parser.parse_args()
    rows = list(read_descriptions("heldout"))
    texts = [row.text for row in rows]
    scores = teacher.train().batch(texts)
    taught = [teacher.SECTIONS[int(best)] for best in scores.argmax(axis=1)]
    print(compare("teacher", taught, taught, rows), flush=True)
    for student in arguments.students:
        if student.startswith("http"):
            base_url, _, model = student.rpartition("=")
            said, latency_ms = answers_served(base_url, model, texts)
            print(compare(student, said, taught, rows, latency_ms), flush=True)
        else:
            print(compare(student, answers_in_process(Path(student), texts), taught, rows), flush=True)


if __name__ == "__main__":
    main()
