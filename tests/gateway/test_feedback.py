"""Feedback: strict at the door, spooled as a record, redacted."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from gateway import connection
from gateway.api.feedback import MAX_BYTES, MAX_COMMENT_CHARS, read_feedback
from gateway.errors import BadRequest
from tests.gateway.harness import PRIVATE, Running, running, until
from tests.gateway.model_server import ModelServer
from tutelage.capture.spooled import read_spooled
from tutelage.contracts.records import Feedback
from tutelage.store.spool import read_after, spools

PATH = "/v1/feedback"
ID = "0196f7a2-0000-7000-8000-000000000001"
SAID: dict[str, Any] = {"request_id": ID, "kind": "thumb", "value": "up"}


def feedback(at: Running) -> list[Feedback]:
    rows = [row for path in spools(at.data_dir).values() for row in read_after(path, 0, 1000)]
    return [record for row in rows if isinstance(record := read_spooled(row.body), Feedback)]


def read(**changes: Any) -> Feedback:
    fields = {name: value for name, value in {**SAID, **changes}.items() if value is not ...}
    return read_feedback(json.dumps(fields).encode(), feedback_id="f", tenant="acme", at=1.0)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("thumb", "up"), ("thumb", "down"), ("score", 0), ("score", 0.25), ("comment", "so so"), ("correction", "net")],
)
def test_each_kind_is_read(kind: str, value: Any):
    said = read(kind=kind, value=value)
    assert (said.id, said.exchange_id, said.tenant, said.type, said.value) == ("f", ID, "acme", kind, value)


def test_half_a_character_is_replaced_not_the_end_of_what_was_said():
    assert read(kind="comment", value="so so \ud83d").value == "so so ?"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"request_id": ...}, "request_id"),
        ({"kind": ...}, "kind"),
        ({"value": ...}, "value"),
        ({"extra": 1}, "extra"),
        ({"request_id": "chatcmpl-1"}, "request_id"),
        ({"request_id": 7}, "request_id"),
        ({"kind": "rating"}, "kind"),
        ({"kind": ["thumb"]}, "kind"),
        ({"value": "sideways"}, "value"),
        ({"value": {}}, "value"),
        ({"kind": "score", "value": 1.01}, "value"),
        ({"kind": "score", "value": -1}, "value"),
        ({"kind": "score", "value": True}, "value"),
        ({"kind": "score", "value": "0.5"}, "value"),
        ({"kind": "comment", "value": "  "}, "value"),
        ({"kind": "comment", "value": "x" * (MAX_COMMENT_CHARS + 1)}, "value"),
        ({"kind": "correction", "value": None}, "value"),
        ({"kind": "correction", "value": {"label": "net"}}, "value"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as fault:
        read(**changes)
    assert fault.value.param == param


async def test_it_is_accepted_at_once_and_spooled_redacted(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        comment = {**SAID, "kind": "comment", "value": "ask ann@example.org"}
        answers = [await at.http().post(PATH, json=said) for said in (SAID, comment)]
        await until(lambda: len(feedback(at)) == 2)
        thumb, redacted = feedback(at)
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == {"id": thumb.id, "object": "feedback"}
    assert (thumb.exchange_id, thumb.tenant, thumb.value) == (ID, "acme", "up")
    assert "ann@" not in redacted.value


async def test_who_may_not_say_anything_is_told(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    async with running(teacher, student, tmp_path) as at:
        nobody = await at.http(None).post(PATH, json=SAID)
        private = await at.http(PRIVATE).post(PATH, json=SAID)
        got = await at.http().get(PATH)
        form = await at.http().post(PATH, data={"kind": "thumb"})
        broken = await at.http().post(PATH, content=b"[1]", headers={"content-type": "application/json"})
        large = await at.http().post(PATH, content=b"x" * (MAX_BYTES + 1), headers={"content-type": "application/json"})
        assert feedback(at) == []
    statuses = [answer.status_code for answer in (nobody, private, got, form, broken, large)]
    assert statuses == [401, 403, 405, 415, 400, 413]
    assert all(
        set(answer.json()["error"]) == {"message", "type", "param", "code"} for answer in (nobody, broken, large)
    )


async def test_a_body_that_stops_or_is_compressed_is_the_clients_fault(
    teacher: ModelServer, student: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "BODY_IDLE_S", 0.05)
    async with running(teacher, student, tmp_path) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.gateway.port)
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tut-data\r\ncontent-length: 9\r\n\r\n"
        writer.write(head.encode())
        stopped = await reader.read()
        writer.close()
        packed = {"content-type": "application/json", "content-encoding": "gzip"}
        compressed = await at.http().post(PATH, content=gzip.compress(json.dumps(SAID).encode()), headers=packed)
    assert stopped.split()[1] == b"400"
    assert b'"code":"request_incomplete"' in stopped
    assert (compressed.status_code, compressed.json()["error"]["code"]) == (415, "unsupported_content_encoding")
