"""litellm in front of a real local server that speaks OpenAI's protocol. Its import, five seconds, is paid once."""

import asyncio
import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.upstreams.base import Call, CallRefused
from gateway.upstreams.litellm import LitellmUpstream
from tests.gateway.upstreams.contract import JSON, Contract, ask, call, content_of, echo, failure
from tests.gateway.upstreams.server import Exchange, scripted

pytestmark = pytest.mark.filterwarnings("ignore")  # litellm's own, some of them while its objects are collected

KEY = "the-key"


@pytest.fixture
def anyio_backend():
    """One loop is enough: the sockets are litellm's."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module", autouse=True)
def swept() -> Iterator[None]:
    """litellm keeps its clients, on loops that are gone; they are collected here, not in somebody else's test."""
    yield
    import litellm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        litellm.in_memory_llm_clients_cache.flush_cache()
        gc.collect()


def over(url: str | None) -> LitellmUpstream:
    return LitellmUpstream(name="claude", model="openai/served", base_url=url, api_key=KEY)


def with_fields(**fields: object) -> Call:
    asked = call()
    return replace(asked, body=json.dumps(json.loads(asked.body) | fields).encode())


class TestLitellm(Contract):
    def build(self, url: str, *, max_connections: int = 64) -> LitellmUpstream:
        return over(url)


def test_importing_the_module_does_not_import_litellm():
    code = "import sys, gateway.upstreams.registry; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0


async def test_the_model_is_the_upstreams_and_parameters_arrive():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    fields = {"temperature": 0.25, "max_tokens": 7, "seed": 3, "tools": [tool], "stop": ["x"], "top_logprobs": None}
    async with scripted(echo) as server:
        await ask(over(server.url), with_fields(model="somebody-elses", **fields))
        arrived = json.loads(server.requests[0].body)
        assert arrived["model"] == "served"
        assert {name: arrived.get(name) for name in fields} == fields


async def test_a_plain_answer_has_the_shape_of_openai_and_nothing_of_litellm():
    async def script(exchange: Exchange) -> None:
        function = {"name": "f", "arguments": "{}"}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t", "type": "function", "function": function}],
        }
        choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
        shape = {"id": "c", "object": "chat.completion", "created": 1, "model": "served", "choices": choices}
        await exchange.answer(json.dumps(shape).encode(), headers=JSON)

    async with scripted(script) as server:
        _, body = await ask(over(server.url), call())
        answer = json.loads(body)
        assert answer["object"] == "chat.completion"
        message = answer["choices"][0]["message"]
        assert message["content"] is None
        assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
        assert b"provider_specific_fields" not in body
        assert b"_hidden" not in body


@pytest.mark.parametrize(
    "name",
    ["api_base", "base_url", "api_key", "api_version", "mock_response", "fallbacks", "callbacks", "extra_headers",
     "extra_body", "custom_llm_provider", "organization", "timeout", "num_retries", "model_list", "litellm_params", "proxy"],
)  # fmt: skip
async def test_what_would_steer_litellm_is_refused_by_name(name: str):
    async with scripted(echo) as server:
        with pytest.raises(CallRefused, match=name) as fault:
            await over(server.url).open(with_fields(**{name: "http://elsewhere"}))
        assert fault.value.status == 400
        assert server.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": "hi"},
        {"messages": []},
        {"messages": ["hi"]},
        {"messages": [{"role": "user", "content": ["hi"]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "file:///etc/passwd"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        {"tools": [{"type": "mcp", "server_url": "http://10.0.0.1/"}]},
    ],
)
async def test_what_makes_litellm_fetch_or_guess_is_refused(fields: dict[str, object]):
    with pytest.raises(CallRefused):
        await over("http://127.0.0.1:1/v1").open(with_fields(**fields))


@pytest.mark.parametrize(
    "change", [{"path": "/embeddings"}, {"path": "/responses"}, {"method": "GET"}, {"body": b"{"}, {"body": b"[]"}]
)
async def test_other_calls_than_chat_completions_are_refused(change: dict[str, Any]):
    with pytest.raises(CallRefused):
        await over("http://127.0.0.1:1/v1").open(replace(call(), **change))


@pytest.mark.parametrize("status", [401, 403])
async def test_trouble_with_our_own_key_shows_nothing_of_it(status: int):
    async def script(exchange: Exchange) -> None:
        told = f"Incorrect API key provided: {KEY}"
        await exchange.answer(failure(told), status=status, headers=JSON)

    async with scripted(script) as server:
        answered, body = await ask(over(server.url), call())
        assert answered == status
        assert KEY.encode() not in body


async def test_an_error_inside_the_stream_before_its_first_event_has_a_status_of_its_own():
    async def script(exchange: Exchange) -> None:
        await exchange.answer(failure("too many"), status=429, headers=JSON)

    async with scripted(script) as server:
        status, body = await ask(over(server.url), replace(call(stream=True)))
        assert status == 429
        assert "too many" in json.loads(body)["error"]["message"]


async def test_the_first_calls_share_one_import():
    async with scripted(echo) as server:
        upstream = over(server.url)
        answers = await asyncio.gather(*(ask(upstream, call(str(number))) for number in range(5)))
        assert [content_of(body) for _, body in answers] == ["0", "1", "2", "3", "4"]
        await upstream.aclose()
