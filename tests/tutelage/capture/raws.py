"""Raw records as the relay would leave them: the smallest that are whole, with what a test says otherwise."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from router.types import Arm, RoutePlan
from tutelage.capture.raw import RawAttempt, RawExchange, RawPolicy, RawShadow
from tutelage.contracts.ids import uuid7
from tutelage.contracts.settings import Settings

AT = 1_795_000_000.0
CHAT = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"Who are you?"}],"temperature":0}'
PLAN = RoutePlan(
    serve=Arm.TEACHER, assigned=Arm.TEACHER, fallback=None, shadow=Arm.STUDENT, holdout=False, in_population=True, reasons=(),
    bucket=17, share_bp=0, arm_bp=10_000, shadow_bp=10_000, floor_bp=10_000, policy_version=1,
)  # fmt: skip
FULL = RawPolicy(log="full", train=True, purpose="tests")
JSON = ((b"content-type", b"application/json"), (b"x-request-id", b"req-1"))
SSE = ((b"content-type", b"text/event-stream; charset=utf-8"),)
_numbers = itertools.count()


def settings(data_dir: Path, **limits: Any) -> Settings:
    return Settings.model_validate({
        "data_dir": str(data_dir),
        "upstreams": {"gpt": {"kind": "openai", "base_url": "http://upstream/v1", "model": "gpt-4.1"}},
        "routes": {"chat": {"teacher": "gpt"}},
        "limits": limits,
    })  # fmt: skip


def new_id() -> str:
    return uuid7(AT, next(_numbers).to_bytes(10, "big"))


def chat_body(text: str | None = "I am a model.", **message: Any) -> bytes:
    whole = {"role": "assistant", "content": text} | message
    return json.dumps({
        "id": "chatcmpl-1",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "message": whole, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }).encode()  # fmt: skip


def sse(events: Iterable[Any], *, end: str = "[DONE]", newline: str = "\n") -> bytes:
    datas = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    return "".join(f"data: {data}{newline}{newline}" for data in [*datas, *([end] if end else [])]).encode()


def attempt(body: bytes | list[bytes] = b"", **changes: Any) -> RawAttempt:
    made = RawAttempt(
        arm=Arm.TEACHER, upstream="gpt", version="2025-04-14", purpose="serve", started=AT, status=200, headers=JSON,
        first_token_ms=12.5, total_ms=100.0, chunks=list(body) if isinstance(body, list) else [body or chat_body()],
    )  # fmt: skip
    return replace(made, **changes)


def exchange(*attempts: RawAttempt, **changes: Any) -> RawExchange:
    made = RawExchange(
        id=new_id(), generation=1, snapshot=7, digest="d" * 8, route="chat", tenant="acme", key_id="key-1",
        endpoint="chat.completions", stream=False, body=CHAT, sticky_source="body", sticky_key="sticky", salt="salt", revision=3,
        epoch="epoch", plan=PLAN, slices={}, policy=FULL, admitted_at=AT, attempts=attempts or (attempt(),),
        served_arm=Arm.TEACHER, outcome="ok", cause=None, successor=None, client_gone=False,
        truncated=False, ended_ms=101.0, overhead_ms=0.4,
    )  # fmt: skip
    return replace(made, **changes)


def shadow(raw: RawAttempt | None = None, **changes: Any) -> RawShadow:
    made = RawShadow(
        id=new_id(), exchange_id="exchange", route="chat", endpoint="chat.completions", stream=False, body=CHAT, policy=FULL,
        ended_at=AT, attempt=raw, lost=None,
    )  # fmt: skip
    return replace(made, **changes)
