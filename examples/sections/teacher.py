"""The demo's teacher stand-in: an OpenAI-compatible server around a linear text classifier.

It is a real model with real errors, but no language model: TF-IDF over words and character n-grams with a logistic
regression, trained on the part `teacher` of the shipped data when the server starts (some ten seconds). It stands where
an application's large model would; `--latency provider` adds a provider's waiting time, by design and not by work.

Owns the model and its HTTP face. It must not know the gateway. The last user message is classified; everything else of
a request is accepted and ignored, as the model has no use for it. Runs in any Python with scikit-learn, FastAPI and
uvicorn (the environment of `examples/vllm_cpu/install.sh` has them):

    python -m examples.sections.teacher --port 8101 --latency none
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion

from examples.sections.task import SECTIONS, canonical, input_sha256, last_user_text, read_descriptions

MODEL = "sections-teacher"
VERSION = "2026-11-linear"
CACHED_INPUTS = 200_000
PRECOMPUTED_PER_BATCH = 2_000
MAX_TOP_LOGPROBS = 20

PROVIDER_MEDIAN_S = 0.7
PROVIDER_P95_S = 1.6
_NORMAL_P95 = 1.6449
_PROVIDER_SIGMA = math.log(PROVIDER_P95_S / PROVIDER_MEDIAN_S) / _NORMAL_P95

Latency = Literal["none", "provider"]
Delay = Callable[[str], float]


class Classifier:
    """Maps a description to the log-probability (natural) of each section, in the order of `SECTIONS`."""

    def __init__(self, texts: Sequence[str], sections: Sequence[str]) -> None:
        """Fit on texts and their labels; deterministic. Raises ValueError if a section has no example."""
        self._features = FeatureUnion(
            [
                ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
                ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)),
            ]
        )
        matrix = self._features.fit_transform(texts)
        model = LogisticRegression(C=30.0, max_iter=300).fit(matrix, sections)
        if set(model.classes_) != set(SECTIONS):
            raise ValueError(f"the training part must show every section, it shows {sorted(model.classes_)}")
        self._columns = [list(model.classes_).index(section) for section in SECTIONS]
        self._model = model
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, text: str) -> np.ndarray:
        """Return the log-probabilities, shape (8,), of one description; remembered up to a bound."""
        text = canonical(text)
        known = self._known.get(text)
        if known is None:
            known = self.batch([text])[0]
            if len(self._known) < CACHED_INPUTS:
                self._known[text] = known
        return known

    def batch(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log-probabilities of many descriptions, shape (n, 8)."""
        scores: np.ndarray = self._model.predict_log_proba(self._features.transform(texts))[:, self._columns]
        return np.maximum(scores, -100.0)

    def remember(self, texts: Sequence[str]) -> None:
        """Answer these descriptions ahead of time, so that serving one costs a look-up."""
        for start in range(0, len(texts), PRECOMPUTED_PER_BATCH):
            part = [canonical(text) for text in texts[start : start + PRECOMPUTED_PER_BATCH]]
            self._known.update(zip(part, self.batch(part), strict=True))


def train() -> Classifier:
    """Fit the classifier on the part `teacher` of the shipped data."""
    rows = list(read_descriptions("teacher"))
    return Classifier([row.text for row in rows], [row.section or "" for row in rows])


def no_delay(text: str) -> float:
    """Answer as fast as the model can."""
    del text
    return 0.0


def provider_delay(text: str) -> float:
    """Return a provider's waiting time in seconds: log-normal, the same for the same input."""
    rng = random.Random(int(input_sha256(text)[:16], 16))
    return PROVIDER_MEDIAN_S * math.exp(_PROVIDER_SIGMA * rng.gauss(0.0, 1.0))


DELAYS: Mapping[Latency, Delay] = {"none": no_delay, "provider": provider_delay}


class BadRequest(ValueError):
    """The client's fault: answered 400 in OpenAI's envelope. `param` names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """What of a chat request matters to this server."""

    text: str
    model: str
    streamed: bool
    usage_in_stream: bool
    logprobs: bool
    top_logprobs: int
    prompt_tokens: int

    @classmethod
    def parse(cls, raw: bytes) -> ChatCall:
        """Read a request body. Raises BadRequest."""
        try:
            body = json.loads(raw)
        except ValueError as error:
            raise BadRequest(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object")
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise BadRequest("'messages' must be a list with at least one message", "messages")
        text = last_user_text(messages)
        if not text.strip():
            raise BadRequest("there is no message with role 'user' and text to classify", "messages")
        top_logprobs = body.get("top_logprobs") or 0
        if not isinstance(top_logprobs, int) or not 0 <= top_logprobs <= MAX_TOP_LOGPROBS:
            raise BadRequest(f"'top_logprobs' must be from 0 to {MAX_TOP_LOGPROBS}, not {top_logprobs}", "top_logprobs")
        return cls(
            text=text,
            model=str(body.get("model") or MODEL),
            streamed=body.get("stream") is True,
            usage_in_stream=(body.get("stream_options") or {}).get("include_usage") is True,
            logprobs=body.get("logprobs") is True,
            top_logprobs=top_logprobs,
            prompt_tokens=_token_count(messages),
        )


def _token_count(messages: Sequence[Mapping[str, Any]]) -> int:
    """Estimate tokens as providers' tokenizers count English: four letters each, four more for every message."""
    return sum(4 + math.ceil(len(str(message.get("content") or "")) / 4) for message in messages)


def _logprobs(call: ChatCall, scores: np.ndarray) -> dict[str, Any] | None:
    if not call.logprobs:
        return None

    def entry(index: int) -> dict[str, Any]:
        name = SECTIONS[index]
        return {"token": name, "logprob": round(float(scores[index]), 6), "bytes": list(name.encode())}

    order = [int(index) for index in np.argsort(-scores, kind="stable")]
    best = entry(order[0]) | {"top_logprobs": [entry(index) for index in order[: call.top_logprobs]]}
    return {"content": [best], "refusal": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A classified request, ready to be written as a completion or as a stream of chunks."""

    call: ChatCall
    scores: np.ndarray
    created: int

    @property
    def section(self) -> str:
        return SECTIONS[int(np.argmax(self.scores))]

    def _envelope(self, kind: str) -> dict[str, Any]:
        key = hashlib.sha256(f"{self.call.text}\0{self.created}".encode()).hexdigest()[:24]
        return {
            "id": f"chatcmpl-{key}",
            "object": kind,
            "created": self.created,
            "model": self.call.model,
            "system_fingerprint": f"fp_{VERSION}",
        }

    def _usage(self) -> dict[str, Any]:
        prompt = self.call.prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}

    def completion(self) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.section, "refusal": None},
            "logprobs": _logprobs(self.call, self.scores),
            "finish_reason": "stop",
        }
        return self._envelope("chat.completion") | {"choices": [choice], "usage": self._usage()}

    def events(self) -> list[bytes]:
        """Return the server-sent events of a streamed answer, in order, `[DONE]` last."""
        steps: list[tuple[dict[str, Any], dict[str, Any] | None, str | None]] = [
            ({"role": "assistant", "content": ""}, None, None),
            ({"content": self.section}, _logprobs(self.call, self.scores), None),
            ({}, None, "stop"),
        ]
        chunks = []
        for delta, logprobs, finish in steps:
            choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            chunks.append(self._envelope("chat.completion.chunk") | {"choices": [choice]})
        if self.call.usage_in_stream:
            chunks = [chunk | {"usage": None} for chunk in chunks]
            chunks.append(self._envelope("chat.completion.chunk") | {"choices": [], "usage": self._usage()})
        return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def create_app(classifier: Classifier, delay: Delay) -> FastAPI:
    """Build the server: chat completions, models, health."""
    app = FastAPI(title="Sections teacher", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(BadRequest)
    async def bad_request(request: Request, error: BadRequest) -> Response:
        del request
        envelope = {"message": str(error), "type": "invalid_request_error", "param": error.param, "code": None}
        return JSONResponse({"error": envelope}, status_code=400)

    @app.exception_handler(404)
    async def not_found(request: Request, error: Exception) -> Response:
        del error
        message = f"unknown path {request.method} {request.url.path}"
        envelope = {"message": message, "type": "invalid_request_error", "param": None, "code": "not_found"}
        return JSONResponse({"error": envelope}, status_code=404)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/v1/models")
    async def models() -> Response:
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "examples"}
        return JSONResponse({"object": "list", "data": [model]})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        call = ChatCall.parse(await request.body())
        wait_s = delay(call.text)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        answer = Answer(call=call, scores=classifier(call.text), created=int(time.time()))
        if call.streamed:
            return StreamingResponse(_send(answer.events()), media_type="text/event-stream")
        return Response(json.dumps(answer.completion()), media_type="application/json")

    return app


async def _send(events: Sequence[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8101)
    parser.add_argument("--latency", choices=sorted(DELAYS), default="none")
    arguments = parser.parse_args()
    began = time.monotonic()
    classifier = train()
    classifier.remember([row.text for row in read_descriptions()])
    print(f"teacher ready after {time.monotonic() - began:.1f} s", flush=True)
    app = create_app(classifier, DELAYS[arguments.latency])
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
