"""The users. Each is a session of its own, asks twice a second, and takes an answer for an error unless all of it is right:
status, shape, the stream's end, and the arm, which a session keeps while the share stands still.

Run by locust (`loadtests/users/__main__.py` says how); what the clients counted is written as JSON at the end.
"""

import json
import time
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from locust import LoadTestShape, constant_throughput, events, task
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from loadtests.users.shapes import users_at

PATH = "/v1/chat/completions"
ARM = "x-tutelage-arm"
EVENTS = 51
"""Of a stream of 50 events, with its end mark."""
MESSAGES = [
    {"role": "system", "content": "You route support tickets. Answer with one line."},
    {"role": "user", "content": "Ticket 4411: charged twice in March. Write to ann@example.com. chunks=50 gap_ms=10"},
]


class Caller(FastHttpUser):
    """What all users share: a session, a key, and the arm that they were first given."""

    abstract = True
    wait_time = constant_throughput(2)

    def on_start(self) -> None:
        options = self.environment.parsed_options
        session = uuid.uuid4().hex
        self.headers = {"authorization": f"Bearer {options.key}", "x-tutelage-session": session}
        self.model = options.model
        self.arm: str | None = None

    def ask(self, name: str, **more: Any) -> None:
        """One request; a reason to complain makes it a failure."""
        body = {"model": self.model, "messages": MESSAGES, **more}
        with self.client.post(PATH, json=body, headers=self.headers, name=name, catch_response=True) as answer:
            complaint = self.complaint(answer, bool(more.get("stream")))
            if complaint is not None:
                answer.failure(complaint)

    def complaint(self, answer: Any, streamed: bool) -> str | None:  # noqa: FBT001 - which of two shapes was asked for
        if answer.status_code != 200:
            return f"status {answer.status_code}: {(answer.text or '')[:200]}"
        arm = answer.headers.get(ARM)
        self.arm = self.arm or arm
        if arm is None or arm != self.arm:
            return f"served by {arm}, before by {self.arm}"
        if streamed:
            found = answer.text.count("data: ")
            whole = found == EVENTS and answer.text.endswith("data: [DONE]\n\n")
            return None if whole else f"a stream of {found} events that ends in {answer.text[-40:]!r}"
        return None if json.loads(answer.text)["choices"][0]["message"]["content"] else "an empty answer"


class Chat(Caller):
    """Plain answers."""

    @task
    def plain(self) -> None:
        self.ask("plain")


class Streaming(Caller):
    """Streams of fifty events over half a second."""

    @task
    def stream(self) -> None:
        self.ask("stream", stream=True)


class Mixed(Caller):
    """Two plain answers for each stream."""

    @task(2)
    def plain(self) -> None:
        self.ask("plain")

    @task
    def stream(self) -> None:
        self.ask("stream", stream=True)


class Shaped(LoadTestShape):
    """The shape that the command line names."""

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        options: Any = self.runner.environment.parsed_options
        users = users_at(options.shape, time.perf_counter() - self.start_time, options.duration_s)
        return None if users is None else (users, float(users))


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # locust's
def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--shape", required=True)
    parser.add_argument("--duration-s", type=float, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--counts", required=True, help="where the clients' own counts are written")


@events.quitting.add_listener  # type: ignore[untyped-decorator]  # locust's
def _write(environment: Environment, **_: Any) -> None:
    total = environment.stats.total
    counts = {
        "requests": total.num_requests,
        "failures": total.num_failures,
        "p50_ms": total.get_response_time_percentile(0.5) or 0,
        "p99_ms": total.get_response_time_percentile(0.99) or 0,
        "requests_per_s": total.total_rps,
        "complaints": [f"{error.occurrences} × {error.error}" for error in environment.stats.errors.values()][:5],
    }
    options: Any = environment.parsed_options
    Path(options.counts).write_text(json.dumps(counts), encoding="utf-8")
