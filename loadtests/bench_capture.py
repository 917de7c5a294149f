"""What capture costs: CPU µs per record in `Spool.offer` (on the request path) and in the writer's thread, in under ten seconds.

    python -m loadtests.bench_capture

Three shapes: an answer of about 450 bytes, a stream of 50 chunks, and the answer again without content. CPU of the thread is
that of the process minus that of the thread that offers; the disk's own time is not in it.
"""

import asyncio
import json
import tempfile
import time

from msgspec.structs import replace

from gateway.capture import RawAttempt, RawExchange, RawPolicy
from gateway.spool import open_spool
from router.types import Arm, RoutePlan
from tutelage.contracts.ids import uuid7
from tutelage.contracts.prices import table
from tutelage.contracts.settings import Settings

RECORDS = 4_000
PROMPT = "Summarise the ticket in one line and name the team that should look at it. " * 3
BODY = json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": PROMPT}], "temperature": 0}).encode()
PLAN = RoutePlan(
    serve=Arm.TEACHER, assigned=Arm.TEACHER, fallback=None, shadow=None, holdout=False, in_population=True, reasons=(),
    bucket=1, share_bp=0, arm_bp=10_000, shadow_bp=0, policy_version=0,
)  # fmt: skip
FULL = RawPolicy(log="full", train=True, purpose="bench", redact=frozenset({"secrets", "contact"}))


def answer() -> list[bytes]:
    message = {"role": "assistant", "content": "The printer on the third floor is out of toner; facilities. " * 4}
    usage = {"prompt_tokens": 60, "completion_tokens": 50}
    return [
        json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}).encode()
    ]


def stream() -> list[bytes]:
    deltas = [
        {"choices": [{"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}]}
        for number in range(49)
    ]
    events = [*deltas, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    return [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]


def exchange(chunks: list[bytes], kind: bytes, policy: RawPolicy) -> RawExchange:
    attempt = RawAttempt(
        arm=Arm.TEACHER, upstream="gpt", version="1", purpose="serve", started=time.time(), status=200,
        headers=((b"content-type", kind), (b"x-request-id", b"r")), first_token_ms=1.0, total_ms=2.0, chunks=chunks,
    )  # fmt: skip
    return RawExchange(
        id="", generation=1, snapshot=1, digest="d", route="bench", tenant="t", key_id="k", endpoint="chat.completions",
        stream=False, body=BODY, sticky_source="body", sticky_key="s", salt="s", revision=1, epoch="e", plan=PLAN, slices={},
        policy=policy, admitted_at=time.time(), attempts=(attempt,), served_arm=Arm.TEACHER, outcome="ok", cause=None,
        client_gone=False, truncated=False, ended_ms=2.0, overhead_ms=0.2,
    )  # fmt: skip


async def measure(name: str, raw: RawExchange, data_dir: str) -> None:
    settings = Settings.model_validate({
        "data_dir": data_dir,
        "upstreams": {"gpt": {"kind": "openai", "base_url": "http://localhost/v1", "model": "gpt-4.1"}},
        "routes": {"bench": {"teacher": "gpt"}},
    })  # fmt: skip
    raws = [replace(raw, id=uuid7(time.time())) for _ in range(RECORDS)]
    spool = open_spool(settings, name.replace(" ", "-"))
    process, offering = time.process_time(), time.thread_time()
    for each in raws:
        spool.offer(each)
    offered = time.thread_time() - offering
    counts = await spool.drain(60)
    written = time.process_time() - process - (time.thread_time() - offering)
    assert counts.durable == RECORDS
    print(f"{name:20} offer {offered / RECORDS * 1e6:6.1f} µs   writer {written / RECORDS * 1e6:6.1f} µs")


def main() -> None:
    table()  # read once per process, not per record
    shapes = {
        "answer": exchange(answer(), b"application/json", FULL),
        "stream of 50": exchange(stream(), b"text/event-stream", FULL),
        "metadata only": exchange(answer(), b"application/json", RawPolicy(log="metadata", train=False, purpose=None)),
    }
    with tempfile.TemporaryDirectory() as data_dir:
        for name, raw in shapes.items():
            asyncio.run(measure(name, raw, data_dir))


if __name__ == "__main__":
    main()
