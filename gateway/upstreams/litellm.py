"""Upstreams with a dialect of their own, through litellm: chat completions in OpenAI's shape in, OpenAI's shape out.

Owns the translation and its allow-list: only parameters of OpenAI's chat API reach litellm, which would otherwise take addresses,
keys, callbacks and mock answers from whoever writes the body. For the same reason it gets no address to fetch: media come inline.
Foreign exceptions end here: those with a status become a reply with OpenAI's error envelope, the others an `UpstreamError`.

litellm costs five seconds and 175 MB to import, about 11 ms a call. It is imported at the first call, in a thread. It writes a
clean end where a provider ended early without an error; that cannot be seen from here.
"""

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgspec

from gateway.errors import INVALID_REQUEST, SERVER_ERROR, envelope
from gateway.upstreams.base import Call, CallRefused, ConnectFailed, Headers, Reply, ReplyBroken, TimedOut

PATH = "/chat/completions"

ALLOWED = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty",
        "reasoning_effort", "response_format", "seed", "service_tier", "stop", "stream", "stream_options", "temperature",
        "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
    }
)  # fmt: skip
"""What is passed on, as it is. What may be left out is left out before (`gateway.fields`)."""

_PARTS = frozenset({"text", "refusal", "image_url", "input_audio"})
_TOOLS = frozenset({"function", "custom"})
_JSON: Headers = ((b"content-type", b"application/json"),)
_EVENTS: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"),)
_RETRY_HEADERS = ("retry-after", "retry-after-ms")
_TIMEOUT, _NO_STATUS = 408, 500


class LitellmUpstream:
    """One model of one provider, named the way litellm does: "anthropic/claude-sonnet-4-5"."""

    def __init__(self, *, name: str, model: str, base_url: str | None = None, api_key: str | None = None) -> None:
        self._name = name
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._litellm: asyncio.Task[ModuleType] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def hidden(self) -> tuple[bytes, ...]:
        return ()  # its errors are in our words already

    async def open(self, call: Call) -> Reply:
        loop = asyncio.get_running_loop()
        began = loop.time()
        parameters = self._parameters(call)
        litellm = await self._library()
        deadlines = call.deadlines
        total_at = began + deadlines.total_s
        sent = loop.time()
        try:
            async with asyncio.timeout_at(min(sent + deadlines.first_token_s, total_at)):
                answer = await litellm.acompletion(
                    **parameters,
                    model=self._model,
                    base_url=self._base_url,
                    api_key=self._api_key,
                    timeout=deadlines.total_s,
                    max_retries=0,
                    num_retries=0,
                    _skip_mcp_handler=True,  # it calls servers that a tool names, and wants a package that we have not
                )
                if not parameters.get("stream"):
                    return _Whole(status=200, headers=_JSON, replica=self._name, body=_body(answer))
                return await self._stream(answer, call, total_at)
        except litellm.openai.OpenAIError as fault:
            return self._failed(fault, loop.time() - sent)
        except TimeoutError:
            which = "total" if loop.time() >= total_at else "first_token"
            raise TimedOut(self._name, which, loop.time() - began) from None

    async def aclose(self) -> None:
        if self._litellm is not None:
            await asyncio.wait((self._litellm,))

    async def _library(self) -> ModuleType:
        if self._litellm is None:
            self._litellm = asyncio.create_task(asyncio.to_thread(_import), name="import litellm")
        return await asyncio.shield(self._litellm)

    def _parameters(self, call: Call) -> dict[str, Any]:
        """The body's allowed fields. Raises CallRefused for what cannot be translated."""
        if call.method != "POST" or call.path != PATH:
            raise CallRefused(self._name, f"{call.method} {call.path} cannot be translated, only POST {PATH}")
        try:
            fields = msgspec.json.decode(call.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise CallRefused(self._name, f"the body is no JSON object: {fault}") from fault
        fields.pop("model", None)
        if unknown := sorted(fields.keys() - ALLOWED):
            raise CallRefused(self._name, f"{', '.join(unknown)[:200]} cannot be translated; leave it out")
        self._check_messages(fields.get("messages"))
        self._check_tools(fields.get("tools"))
        return {name: value for name, value in fields.items() if name in ALLOWED and value is not None}

    def _check_messages(self, messages: object) -> None:
        if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
            raise CallRefused(self._name, "messages must be a list of messages")
        for message in messages:
            content = message.get("content")
            for part in content if isinstance(content, list) else ():
                if not isinstance(part, dict) or part.get("type") not in _PARTS:
                    raise CallRefused(self._name, f"content parts must be of type {', '.join(sorted(_PARTS))}")
                if part["type"] == "image_url" and not _inline(part.get("image_url")):
                    raise CallRefused(self._name, "images must be inline (data: URLs); no address is fetched")

    def _check_tools(self, tools: object) -> None:
        for tool in tools if isinstance(tools, list) else ():
            if not isinstance(tool, dict) or tool.get("type") not in _TOOLS:
                raise CallRefused(self._name, f"tools must be of type {', '.join(sorted(_TOOLS))}")

    async def _stream(self, answer: Any, call: Call, total_at: float) -> Reply:
        """The stream once its first chunk is there: until then a failure still has a status of its own."""
        try:
            first = await anext(answer, None)
        except BaseException:
            await answer.aclose()
            raise
        return _Stream(self._name, answer, first, call, total_at)

    def _failed(self, fault: Any, after_s: float) -> Reply:
        """The provider's error as a reply, or an UpstreamError where it has none."""
        status = getattr(fault, "status_code", None)
        if status == _TIMEOUT:
            raise TimedOut(self._name, "first_token", after_s) from fault
        if not isinstance(status, int) or not 400 <= status <= 599 or _never_arrived(fault):
            raise ConnectFailed(self._name, type(fault).__name__) from fault
        kind = INVALID_REQUEST if status < _NO_STATUS else SERVER_ERROR
        message = self._told(status, str(getattr(fault, "message", "")))
        body = envelope(message, kind, param=_text(fault, "param"), code=_text(fault, "code"))
        return _Whole(status=status, headers=(*_JSON, *_retry_headers(fault)), replica=self._name, body=body)

    def _told(self, status: int, message: str) -> str:
        """What the client may read: nothing about our own credentials or addresses."""
        if status in (401, 403):
            return "The provider refused the gateway's credentials."
        for hidden in (self._api_key, self._base_url):
            if hidden:
                message = message.replace(hidden, "…")
        return message or "The provider refused the request."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """A reply that is there already."""

    status: int
    headers: Headers
    replica: str
    body: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.body

    async def aclose(self) -> None:
        """There is no connection to give back."""


class _Stream:
    """litellm's chunks as server-sent events."""

    status = 200
    headers = _EVENTS

    def __init__(self, upstream: str, answer: Any, first: Any, call: Call, total_at: float) -> None:
        self.replica = upstream
        self._answer = answer
        self._first = first
        self._deadlines = call.deadlines
        self._total_at = total_at

    async def chunks(self) -> AsyncIterator[bytes]:
        chunk, self._first = self._first, None
        while chunk is not None:
            yield b"data: " + _body(chunk) + b"\n\n"
            chunk = await self._next()
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        await self._answer.aclose()

    async def _next(self) -> Any:
        now = asyncio.get_running_loop().time()
        idle_at = now + self._deadlines.idle_s
        try:
            async with asyncio.timeout_at(min(idle_at, self._total_at)):
                return await anext(self._answer, None)
        except TimeoutError:
            if idle_at < self._total_at:
                raise TimedOut(self.replica, "idle", self._deadlines.idle_s) from None
            raise TimedOut(self.replica, "total", self._deadlines.total_s) from None
        except _errors() as fault:
            raise ReplyBroken(self.replica, type(fault).__name__) from fault


def _import() -> ModuleType:
    """litellm, quiet, without its own look-ups: it neither fetches its price map nor reports anything."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are litellm's, and nothing that our operators could mend
        import litellm
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = False
    return litellm


def _errors() -> type[Exception]:
    """The base of all of litellm's exceptions. The library is there by now."""
    from openai import OpenAIError

    return OpenAIError


def _body(answer: Any) -> bytes:
    """litellm's object as OpenAI's JSON; null where OpenAI writes null, nothing where litellm adds fields of its own."""
    shape = answer.model_dump(mode="json", exclude_none=True, warnings=False)
    for choice in shape.get("choices", ()):
        choice.setdefault("finish_reason", None)
        if "message" in choice:
            choice["message"].setdefault("content", None)
        for part in ("message", "delta"):
            choice.get(part, {}).pop("provider_specific_fields", None)
        choice.pop("provider_specific_fields", None)
    return msgspec.json.encode(shape)


def _inline(image: object) -> bool:
    url = image.get("url") if isinstance(image, Mapping) else image
    return isinstance(url, str) and url.startswith("data:")


def _text(fault: object, name: str) -> str | None:
    value = getattr(fault, name, None)
    return value if isinstance(value, str) else None


def _never_arrived(fault: BaseException | None) -> bool:
    """Whether what failed was the connection: litellm makes a 500 of that."""
    from openai import APIConnectionError

    while fault is not None:
        if isinstance(fault, APIConnectionError):
            return True
        fault = fault.__cause__ or fault.__context__
    return False


def _retry_headers(fault: Any) -> Headers:
    headers = getattr(fault, "litellm_response_headers", None) or {}
    return [(name.encode(), str(headers[name]).encode()) for name in _RETRY_HEADERS if name in headers]
