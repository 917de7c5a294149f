"""Students of known worth, made of recorded answers: what each says to every held-out input was said by a real model.

    python -m tests.system.replayed --recording FILE --port 8101

`/teacher/v1` answers as the recorded teacher. `/NAME/v1` answers as the student `NAME`, whatever its name: as an EQUAL one until
`PUT /NAME` with another kind makes it that from then on, behind an unchanged version; `PUT /NAME:USER` does for requests of that
`user` alone. A kind's mean d over the inputs is exact:
the recorded good student is the base, and on as many inputs as it takes, in hash order, the teacher or the weak student answers.
A LOST student says to every input what the good one said to the first of them.

`/judge/v1` is a judge that reads what it is asked and knows the labels: 4 for the right section, 0 for another. `PUT /judge` with
`down` makes it answer 503 until `up`.
"""

import argparse
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from tutelage.demo.recording import GOOD, TEACHER, WEAK, Row, key_of, read
from tutelage.demo.scorecard import answer_of

EQUAL, BOUNDARY, HARMFUL, LOST = "equal", "boundary", "harmful", "lost"
MEAN_D: Mapping[str, float] = {EQUAL: 0.0, BOUNDARY: -0.05, HARMFUL: -0.10}

JUDGE = "judge"
_FENCED = re.compile(r"⟦(\S+) begin (request|answer A|answer B)[^⟧]*⟧\n(.*?)\n⟦\1 end", re.DOTALL)

Message = MutableMapping[str, Any]
_JSON = [(b"content-type", b"application/json")]


def differences(rows: Sequence[Row], labels: Mapping[str, str], model: str) -> list[int]:
    """d of `model` against the recorded teacher, input by input."""
    right = [answer_of(row, model) == labels[row.input] for row in rows]
    teachers = [answer_of(row, TEACHER) == labels[row.input] for row in rows]
    return [int(mine) - int(theirs) for mine, theirs in zip(right, teachers, strict=True)]


def speakers(rows: Sequence[Row], labels: Mapping[str, str], mean_d: float) -> list[str]:
    """Whose answer a student with that mean d gives to each row. Raises ValueError where the recording cannot make one."""
    good, weak = differences(rows, labels, GOOD), differences(rows, labels, WEAK)
    chosen = [GOOD] * len(rows)
    missing = round(mean_d * len(rows)) - sum(good)
    for at in sorted(range(len(rows)), key=lambda at: rows[at].messages_sha256):
        if missing > 0 and good[at] < 0:
            chosen[at], missing = TEACHER, missing + good[at]
        elif missing < 0 and weak[at] - good[at] == -1:
            chosen[at], missing = WEAK, missing + 1
    if missing:
        raise ValueError(f"no mixture of the recorded answers has a mean d of {mean_d}")
    return chosen


def bodies(rows: Sequence[Row], chosen: Sequence[str]) -> dict[str, bytes]:
    """The recorded body by the messages' hash."""
    return {row.messages_sha256: row.answers[model].body.encode() for row, model in zip(rows, chosen, strict=True)}


class Replayed:
    """The ASGI application."""

    def __init__(self, rows: Sequence[Row], labels: Mapping[str, str]) -> None:
        self._teacher = bodies(rows, [TEACHER] * len(rows))
        self._kinds = {kind: bodies(rows, speakers(rows, labels, mean_d)) for kind, mean_d in MEAN_D.items()}
        self._kinds[LOST] = dict.fromkeys(self._teacher, rows[0].answers[GOOD].body.encode())
        self._students: dict[str, str] = {}
        self._labels = labels
        self._judge_is_down = False

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, answer = self.answer(scope["method"], scope["path"], body)
        await send({"type": "http.response.start", "status": status, "headers": _JSON})
        await send({"type": "http.response.body", "body": answer})

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        name, _, rest = path.lstrip("/").partition("/")
        if method == "GET":
            return 200, b"{}"
        if name == JUDGE:
            return self._judged(method, body)
        if method == "PUT":
            kind = body.decode()
            self._students[name] = kind
            return (200, b"{}") if kind in self._kinds else (400, b"{}")
        asked = msgspec.json.decode(body)
        kind = self._students.get(f"{name}:{asked.get('user')}", self._students.get(name, EQUAL))
        said = self._teacher if name == TEACHER else self._kinds[kind]
        found = said.get(key_of(asked["messages"])) if rest == "v1/chat/completions" else None
        return (404, b'{"error":{"message":"not recorded"}}') if found is None else (200, found)

    def _judged(self, method: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT":
            self._judge_is_down = body == b"down"
            return 200, b"{}"
        if self._judge_is_down:
            return 503, b'{"error":{"message":"down"}}'
        asked: str = msgspec.json.decode(body)["messages"][-1]["content"]
        data = {name: text for _, name, text in _FENCED.findall(asked)}
        right = self._labels[msgspec.json.decode(data["request"])["messages"][-1]["content"]]
        scores = {side.lower(): {"section": 4 * (data[f"answer {side}"].strip() == right)} for side in "AB"}
        return 200, said(msgspec.json.encode({"rationale": f"the section is {right}", **scores}).decode())


def said(text: str) -> bytes:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return msgspec.json.encode({"choices": [choice], "usage": {"prompt_tokens": 300, "completion_tokens": 20}})


def labelled(rows: Sequence[Row]) -> dict[str, str]:
    """The right section of each row's input, by the input's text."""
    from examples.sections.task import LABELS, input_sha256

    lines = [msgspec.json.decode(line) for line in LABELS.read_bytes().splitlines()]
    by_hash = {line["input_sha256"]: line["value"] for line in lines}
    return {row.input: by_hash[input_sha256(row.input)] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    rows = list(read(given.recording).values())
    application = Replayed(rows, labelled(rows))
    uvicorn.run(application, host="127.0.0.1", port=given.port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
