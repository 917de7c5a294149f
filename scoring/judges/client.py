"""One judge call through the gateway's own data plane, under the internal route `judge:<upstream>`.

Owns the HTTP client and which faults are whose. Breakers, connection limits, deadlines towards the provider and the judge's
daily budget are the gateway's. Must not know rubrics or prompts.

| what came back | whose fault | becomes |
|---|---|---|
| no connection, a timeout, 5xx, 429, 408, 401, 403, 404, an error inside a 200 | infrastructure | JudgeUnavailable |
| 400, 413, 422: the provider refuses this content; refusal; cut off; no completion | the content's | a reply with `fault` |
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from scoring.judges.base import JudgeUnavailable
from tutelage.contracts.records import Usage

CALL_DEADLINE_S = 90.0
MAX_REPLY_BYTES = 4_000_000
_REFUSED_CONTENT = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply that came. `fault` says why its text is no verdict; `usage` is None where the upstream gave none."""

    text: str | None
    usage: Usage | None
    total_ms: float
    fault: str | None = None


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Completion)


class GatewayClient:
    """Calls routes of the gateway at `url` with an internal key. Close it when done."""

    def __init__(self, url: str, key: str, *, deadline_s: float = CALL_DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(deadline_s, connect=5.0),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def complete(self, body: dict[str, Any]) -> Reply:
        """One chat completion. Raises JudgeUnavailable."""
        model = str(body["model"])
        try:
            async with asyncio.timeout(self._deadline_s):
                response = await self._http.post("/v1/chat/completions", json=body)
        except (httpx.HTTPError, TimeoutError) as fault:
            raise JudgeUnavailable(f"{model}: {type(fault).__name__}") from fault
        total_ms = response.elapsed.total_seconds() * 1000
        if response.status_code in _REFUSED_CONTENT:
            reason = f"status {response.status_code}: the provider refuses this content"
            return Reply(text=None, usage=Usage(prompt=0, completion=0), total_ms=total_ms, fault=reason)
        if response.status_code != 200:
            raise JudgeUnavailable(f"{model}: status {response.status_code}")
        completion = _completion(response.content)
        if completion is None:
            return Reply(text=None, usage=None, total_ms=total_ms, fault="the reply is no completion")
        if completion.error is not None:
            raise JudgeUnavailable(f"{model}: an error inside a 200")
        return Reply(
            text=completion.choices[0].message.content if completion.choices else None,
            usage=_usage(completion.usage),
            total_ms=total_ms,
            fault=_fault(completion),
        )


def _completion(content: bytes) -> _Completion | None:
    if len(content) > MAX_REPLY_BYTES:
        return None
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None


def _fault(completion: _Completion) -> str | None:
    """Why this completion is no verdict, whatever its text says."""
    if not completion.choices:
        return "the completion has no choice"
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return "the judge refused"
    return "the reply was cut off" if choice.finish_reason == "length" else None


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details is not None else None
    return Usage(prompt=usage.prompt_tokens, completion=usage.completion_tokens, cached=cached)
