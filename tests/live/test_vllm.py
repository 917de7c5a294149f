"""The gateway in front of a real vLLM, asked by the official client. The order matters: the last test kills vLLM's worker."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from examples.vllm_cpu.serve import Server
from tests.system.driving import exchanges, until
from tutelage.contracts.pairs import Judgement
from tutelage.contracts.records import Exchange
from tutelage.demo.site import ROUTE, Site
from tutelage.store.base import Store
from tutelage.store.registry import open_store

pytestmark = pytest.mark.live

HELLO: Any = [{"role": "user", "content": "hello"}]
PATIENCE_S = 120.0


def client(site: Site) -> Any:
    return openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=site.key, max_retries=0, timeout=PATIENCE_S)


async def test_plain_answer_comes_from_the_student(site: Site):
    async with client(site) as gateway:
        raw = await gateway.chat.completions.with_raw_response.create(
            model=ROUTE, messages=HELLO, max_tokens=8, extra_body={"top_k": 5, "min_p": 0.01}
        )
    assert raw.headers["x-tutelage-arm"] == "student"
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens == 8


async def test_the_gateway_changes_nothing_but_the_model(site: Site, vllm: Server):
    asked = {"messages": HELLO, "max_tokens": 8, "temperature": 0, "seed": 1}
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        direct = await http.post(f"{vllm.base_url}/chat/completions", json={"model": "student", **asked})
        through = await http.post(
            f"{site.url}/v1/chat/completions",
            json={"model": ROUTE, **asked},
            headers={"authorization": f"Bearer {site.key}"},
        )
    assert set(through.json()) == set(direct.json())
    assert through.json()["choices"] == direct.json()["choices"]


async def test_a_stream_ends_and_shows_usage_only_where_asked(site: Site):
    async with client(site) as gateway:
        silent = [chunk async for chunk in await gateway.chat.completions.create(
            model=ROUTE, messages=HELLO, max_tokens=8, stream=True
        )]  # fmt: skip
        counted = [chunk async for chunk in await gateway.chat.completions.create(
            model=ROUTE, messages=HELLO, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )]  # fmt: skip
    assert "".join(chunk.choices[0].delta.content or "" for chunk in silent)
    assert silent[-1].choices[0].finish_reason == "length"
    assert all(chunk.usage is None for chunk in silent)
    assert counted[-1].usage.completion_tokens == 8
    await until(lambda: len(streamed(site)) == 2)
    assert [exchange.attempts[0].usage and exchange.attempts[0].usage.completion for exchange in streamed(site)] == [
        8,
        8,
    ]


async def test_logprobs_arrive(site: Site):
    async with client(site) as gateway:
        answer = await gateway.chat.completions.create(
            model=ROUTE, messages=HELLO, max_tokens=4, logprobs=True, top_logprobs=3
        )
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 4
    assert all(len(token.top_logprobs) >= 3 for token in tokens)


async def test_structured_output_obeys_the_schema_even_with_random_weights(site: Site):
    # Random weights would fill an object with white space until the tokens run out: an enumeration leaves no room for it.
    schema = {"type": "string", "enum": ["net", "mail"]}
    async with client(site) as gateway:
        answer = await gateway.chat.completions.create(
            model=ROUTE,
            messages=HELLO,
            max_tokens=16,
            response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}},
        )
    assert json.loads(answer.choices[0].message.content) in {"net", "mail"}


async def test_a_refused_request_falls_back_to_the_teacher(site: Site):
    async with client(site) as gateway:
        raw = await gateway.chat.completions.with_raw_response.create(model=ROUTE, messages=HELLO, max_tokens=100_000)
    assert raw.headers["x-tutelage-arm"] == "teacher"


async def test_the_judge_is_asked_through_the_gateway_and_its_verdicts_are_stored(site: Site):
    store = open_store(f"sqlite:///{site.data_dir}/tutelage.db")
    try:
        await until(lambda: bool(asked_of_the_judge(store)), within_s=PATIENCE_S)
        asked = asked_of_the_judge(store)
    finally:
        store.close()
    for judgement in asked:
        assert judgement.judge == "judge"
        assert judgement.prompt_hash
        assert judgement.orders[0] in {"student_first", "teacher_first"}
        assert (judgement.d is None) == (judgement.failure == "judge_unscorable")


async def test_kill_9_of_the_worker_costs_no_client_an_answer(site: Site, vllm: Server):
    for worker in workers(vllm):
        os.kill(worker, signal.SIGKILL)
    arms = []
    async with client(site) as gateway:
        for _ in range(40):
            raw = await gateway.chat.completions.with_raw_response.create(model=ROUTE, messages=HELLO, max_tokens=4)
            arms.append(raw.headers["x-tutelage-arm"])
    assert arms[-1] == "teacher"
    assert set(arms) == {"teacher"}


def asked_of_the_judge(store: Store) -> list[Judgement]:
    judgements = [judgement for pair in store.pairs(ROUTE, 10) for judgement in store.judgements(pair.id)]
    return [judgement for judgement in judgements if judgement.judge is not None]


def streamed(site: Site) -> list[Exchange]:
    return [exchange for exchange in exchanges(site.data_dir) if exchange.stream]


def workers(vllm: Server) -> list[int]:
    """The processes of vLLM's group but its API server."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            group = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[2])
        except (OSError, IndexError):
            continue
        if group == vllm.pid and int(entry.name) != vllm.pid:
            found.append(int(entry.name))
    assert found
    return found
