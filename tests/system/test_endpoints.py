"""Rows of every endpoint from the gateway's spool to a score: texts are judged, vectors are not."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.types import Sampling
from scoring.rubrics.scorer import compile_rubric
from tests.gateway.answering import completing, embedding, responding
from tests.gateway.harness import Running, rollout, running, until
from tests.gateway.model_server import answering, model_server
from tests.tutelage.control.made import epoch
from tutelage.capture.asked import input_sha256
from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import Json
from tutelage.control.conclude import JoinRoute
from tutelage.control.tail import Tail
from tutelage.store.base import Store
from tutelage.store.registry import open_store

BOTH = Sampling(forward_bp=10_000, reverse_bp=10_000, salt="s", version=1)
HERE = {"chat": JoinRoute(rollout=rollout(0), epoch=epoch(teacher="big@t1", student="small@s1", trained_until=None))}
ENDPOINTS = ["chat.completions", "completions", "embeddings", "responses"]
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat.completions": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "in"}]}),
    "completions": ("/v1/completions", {"prompt": "in"}),
    "responses": ("/v1/responses", {"input": "in", "store": False}),
    "embeddings": ("/v1/embeddings", {"input": "in"}),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def speaking(endpoint: str, text: str) -> Any:
    scripts = {"chat.completions": answering, "completions": completing, "responses": responding}
    return scripts[endpoint](text) if endpoint in scripts else embedding(0.5)


def able(content: dict[str, Any]) -> None:
    content["upstreams"]["small"]["can"] = {"endpoints": ENDPOINTS}


async def pair_of(at: Running, store: Store, endpoint: str, *, stream: bool) -> Pair:
    path, fields = ASKED[endpoint]
    answer = await at.http().post(path, json={"model": "chat", **fields, **({"stream": True} if stream else {})})
    assert answer.status_code == 200
    await until(lambda: bool(at.shadows()))
    await at.exchange()
    (pair,) = (await asyncio.to_thread(Tail(store, at.data_dir).read, HERE, 2e9)).pairs
    return pair


def rubric(folder: Path) -> Path:
    """The answer is the label; the label is of the input by itself, whatever endpoint it came by."""
    criterion: dict[str, Json] = {"name": "c", "weight": 1.0, "reference": "label", "check": {"kind": "label"}}
    document = {"name": "r", "version": 1, "labels": "labels.jsonl", "criteria": [criterion]}
    (folder / "r@1.yaml").write_text(json.dumps(document))
    label = {"input_sha256": input_sha256("in"), "value": "right"}
    (folder / "labels.jsonl").write_text(json.dumps(label))
    return folder


@pytest.mark.parametrize(
    ("endpoint", "stream"),
    [
        ("chat.completions", False),
        ("completions", False),
        ("completions", True),
        ("responses", False),
        ("responses", True),
    ],
)
async def test_a_pair_of_texts_is_joined_and_scored(endpoint: str, *, stream: bool, tmp_path: Path, store: Store):
    async with (
        model_server("teacher", speaking(endpoint, "right")) as teacher,
        model_server("student", speaking(endpoint, "wrong")) as student,
        running(teacher, student, tmp_path, sampling=BOTH, change=able) as at,
    ):
        pair = await pair_of(at, store, endpoint, stream=stream)
    scorer = compile_rubric(rubric(tmp_path), "r@1")
    judgement = scorer.finish(scorer.draft(pair), 1.0)
    assert (pair.endpoint, pair.excluded, pair.parity) == (endpoint, None, ())
    assert (judgement.d, judgement.failure) == (-1.0, None)


async def test_feedback_reaches_its_exchange_and_corrects_what_is_scored_next(tmp_path: Path, store: Store):
    async with (
        model_server("teacher", answering("right")) as teacher,
        model_server("student", answering("wrong")) as student,
        running(teacher, student, tmp_path, sampling=BOTH, change=able) as at,
    ):
        path, fields = ASKED["chat.completions"]
        answer = await at.http().post(path, json={"model": "chat", **fields})
        await until(lambda: bool(at.shadows()))
        await at.exchange()
        said = {"request_id": answer.headers["x-tutelage-request-id"], "kind": "correction", "value": "wrong "}
        accepted = await at.http().post("/v1/feedback", json=said)
        assert accepted.status_code == 202
        assert await at.stopped() == 0
    joined = await asyncio.to_thread(Tail(store, tmp_path).read, HERE, 2e9)
    assert [attached.feedback.id for attached in joined.feedback] == [accepted.json()["id"]]
    (claim,) = store.claim("worker", 10, 60.0, 2e9)
    scorer = compile_rubric(rubric(tmp_path), "r@1")
    assert scorer.finish(scorer.draft(claim.pair, claim.correction), 1.0).d == 1.0
    assert scorer.finish(scorer.draft(claim.pair), 1.0).d == -1.0


async def test_a_pair_of_vectors_is_kept_and_not_judged(tmp_path: Path, store: Store):
    async with (
        model_server("teacher", embedding(0.5)) as teacher,
        model_server("student", embedding(0.25)) as student,
        running(teacher, student, tmp_path, sampling=BOTH, change=able) as at,
    ):
        pair = await pair_of(at, store, "embeddings", stream=False)
    assert (pair.endpoint, pair.excluded) == ("embeddings", "no_text")
    assert store.claim("worker", 10, 60.0, 2e9) == []
