import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway import writer as module
from gateway.spool import open_spool
from gateway.spool_queue import REASONS
from router.types import Arm
from tests.tutelage.capture.raws import AT, FULL, attempt, chat_body, exchange, settings, shadow
from tutelage.capture.raw import RawPolicy
from tutelage.capture.spooled import read_spooled
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.prices import PriceList
from tutelage.contracts.records import Feedback
from tutelage.contracts.redaction import RedactionFailed
from tutelage.contracts.upstreams import CostSettings
from tutelage.store.spool import create, last_sequence, read_after, spool_path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20.0


def rows(data_dir, gateway="gw"):
    return read_after(spool_path(data_dir, gateway), 0, 1_000_000)


def records(data_dir, gateway="gw"):
    return [read_spooled(row.body) for row in rows(data_dir, gateway)]


def wait_for(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.002)


@pytest.fixture
def stalled(monkeypatch):
    """The writer waits before each commit until the gate is opened."""
    gate = threading.Event()
    real = module.Writer._commit

    def commit(self, batch):
        gate.wait(DEADLINE_S)
        real(self, batch)

    monkeypatch.setattr(module.Writer, "_commit", commit)
    yield gate
    gate.set()


async def drained(spool):
    counts = await spool.drain(DEADLINE_S)
    assert counts.balance == 0
    assert counts.in_queue == 0
    assert counts.queue_bytes == 0
    return counts


# --- what is written --------------------------------------------------------------------------------------------------


async def test_all_kinds_of_records_are_durable_and_read_back(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    said = Feedback(id="f", exchange_id="e", tenant="acme", type="thumb", value=1, at=AT)
    served, asked = exchange(), shadow(attempt())
    for raw in (served, asked, said):
        spool.offer(raw)
    counts = await drained(spool)
    assert counts.durable == counts.eligible == 3
    assert [(row.kind, row.id, row.at) for row in rows(tmp_path)] == [
        ("exchange", served.id, AT),
        ("shadow", asked.id, AT),
        ("feedback", "f", AT),
    ]
    first, second, third = records(tmp_path)
    assert first.request["messages"][0]["content"] == "Who are you?"
    assert first.attempts[0].answer.text == second.attempt.answer.text == "I am a model."
    assert first.gateway == "gw"
    assert third == said
    assert spool_path(tmp_path, "gw").stat().st_mode & 0o077 == 0, "what people wrote is for the owner alone"


async def test_a_record_offered_twice_is_written_once(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    raw = exchange()
    spool.offer(raw)
    spool.offer(raw)
    assert (await drained(spool)).durable == 2
    assert len(rows(tmp_path)) == 1


async def test_the_next_process_goes_on_in_the_same_file(tmp_path):
    for _ in range(2):
        spool = open_spool(settings(tmp_path), "gw")
        spool.offer(exchange())
        await drained(spool)
    assert [row.sequence for row in rows(tmp_path)] == [1, 2]
    assert [record.sequence for record in records(tmp_path)] == [1, 2]


async def test_records_become_durable_without_a_drain(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    spool.offer(exchange())
    wait_for(lambda: spool.counts().durable == 1)
    assert last_sequence(spool_path(tmp_path, "gw")) == 1
    await drained(spool)


async def test_after_a_drain_the_file_alone_is_everything_and_no_thread_is_left(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    for _ in range(600):
        spool.offer(exchange())
    assert (await drained(spool)).durable == 600
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["gw.db"]
    assert not [thread for thread in threading.enumerate() if thread.name == "spool"]
    spool.offer(exchange())
    assert spool.counts().dropped["queue_full"] == 1
    assert spool.counts().balance == 0


async def test_a_changed_price_list_prices_what_comes_after(tmp_path):
    given = settings(tmp_path)
    spool = open_spool(given, "gw")
    dear = given.upstreams["gpt"].model_copy(
        update={"cost": CostSettings(prompt_usd_per_mtok=1000, completion_usd_per_mtok=0)}
    )
    spool.price_by(PriceList({"gpt": dear}))
    spool.offer(exchange())
    await drained(spool)
    assert records(tmp_path)[0].attempts[0].cost_nusd == 10 * 1_000_000


def test_a_file_of_another_version_is_refused(tmp_path):
    path = spool_path(tmp_path, "gw")
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        create(connection)
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="99"):
        open_spool(settings(tmp_path), "gw")


# --- conservation -----------------------------------------------------------------------------------------------------


async def test_the_counts_balance_at_every_moment_under_overload(tmp_path):
    spool = open_spool(settings(tmp_path, spool_records=10), "gw")
    seen = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            seen.append(spool.counts())

    watcher = threading.Thread(target=watch)
    watcher.start()
    rng = random.Random(5)
    opted_out = 0
    for number in range(2000):
        off = rng.random() < 0.1
        opted_out += off
        spool.offer(exchange(policy=RawPolicy(log="off", train=False, purpose=None)) if off else exchange())
        if number % 200 == 0:
            await asyncio.sleep(0)
    counts = await drained(spool)
    stop.set()
    watcher.join()
    assert {each.balance for each in seen} == {0}
    assert max(each.in_queue for each in seen) <= 10
    assert counts.eligible == 2000
    assert counts.dropped["opted_out"] == opted_out
    assert counts.dropped["queue_full"] > 0
    assert counts.durable == len(rows(tmp_path)) == 2000 - opted_out - counts.dropped["queue_full"]
    assert set(counts.dropped) == set(REASONS)


async def test_the_queue_is_bounded_in_records_and_in_bytes(tmp_path, stalled):
    spool = open_spool(settings(tmp_path, spool_mb=1), "gw")
    for _ in range(30):
        spool.offer(exchange(attempt(b"x" * 100_000)))
    counts = spool.counts()
    assert counts.queue_bytes <= 2**20
    assert counts.in_queue == 10
    assert counts.dropped["queue_full"] == 20
    assert counts.balance == 0
    stalled.set()
    await drained(spool)


async def test_what_can_never_fit_is_written_without_its_content(tmp_path):
    spool = open_spool(settings(tmp_path, spool_mb=0.1), "gw")
    big = chat_body("canary " * 30_000)
    spool.offer(exchange(attempt(big)))
    spool.offer(shadow(attempt(big, arm=Arm.STUDENT)))
    counts = await drained(spool)
    assert counts.dropped["too_large"] == counts.stubs == 2
    assert counts.durable == 0
    served, asked = records(tmp_path)
    assert served.request is None
    assert served.attempts[0].answer is None
    assert served.attempts[0].error == "too_large"
    assert asked.lost == "too_large"
    assert asked.attempt.answer is None


async def test_an_answer_beyond_its_bound_leaves_the_rest_of_the_row(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    spool.offer(exchange(attempt([], overflow=True)))
    spool.offer(shadow(attempt([], overflow=True)))
    counts = await drained(spool)
    assert counts.dropped["too_large"] == counts.stubs == 2
    served, asked = records(tmp_path)
    assert served.request is not None
    assert served.attempts[0].error == "too_large"
    assert asked.lost == "too_large"


@pytest.mark.parametrize("fault", [RedactionFailed("x"), ZeroDivisionError("canary")])
async def test_what_cannot_be_redacted_is_written_without_its_content(tmp_path, monkeypatch, fault):
    def redact(self, value, classes):
        raise fault

    monkeypatch.setattr("gateway.redact.Redactor.redact", redact)
    spool = open_spool(settings(tmp_path), "gw")
    policy, answer = replace(FULL, redact=frozenset({"contact"})), chat_body("Ask ann@example.com.")
    spool.offer(exchange(attempt(answer), policy=policy))
    spool.offer(shadow(attempt(answer), policy=policy))
    spool.offer(Feedback(id="f", exchange_id="e", tenant="acme", type="comment", value="canary", at=AT))
    counts = await drained(spool)
    assert counts.dropped["redaction_failed"] == 3
    assert counts.stubs == 2
    served, asked = records(tmp_path)
    assert served.request is None
    assert served.attempts[0].answer is None
    assert served.attempts[0].error == "redaction_failed"
    assert asked.lost == "redaction_failed"
    assert asked.attempt.answer is None
    assert b"Who are you" not in spool_path(tmp_path, "gw").read_bytes()


async def test_a_body_that_cannot_be_read_cannot_be_redacted(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    spool.offer(exchange(body=b"[" * 100_000))
    counts = await drained(spool)
    assert counts.dropped["redaction_failed"] == counts.stubs == 1
    assert records(tmp_path)[0].attempts[0].answer is None


# --- privacy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["off", "metadata"])
async def test_no_byte_of_content_reaches_the_disk_where_it_was_not_allowed(tmp_path, log):
    policy = RawPolicy(log=log, train=False, purpose=None)
    body = (
        b'{"model":"m","user":"CANARY","messages":[{"role":"user","content":"CANARY"}],"metadata":{"CANARY":"CANARY"}}'
    )
    call = {"id": "CANARY", "type": "function", "function": {"name": "CANARY", "arguments": '{"CANARY": 1}'}}
    answers = [
        attempt(chat_body("CANARY")),
        attempt(chat_body(None, tool_calls=[call])),
        attempt(b"CANARY not json"),
        attempt(b'{"error":{"message":"CANARY"}}', status=400),
        attempt([b'data: {"choices":[{"index":0,"delta":{"content":"CANARY'], broke=True, error="broken"),
        attempt([b"CANARY"], error="timeout_idle", overflow=True),
        attempt([], status=None, error="connect"),
    ]
    spool = open_spool(settings(tmp_path, spool_mb=0.05), "gw")
    for answer in answers:
        spool.offer(exchange(answer, body=body, policy=policy, sticky_key="CANARY", client_gone=True))
        spool.offer(shadow(answer, body=body, policy=policy))
    spool.offer(exchange(attempt(b"CANARY" * 10_000), body=body, policy=policy))
    await drained(spool)
    assert len(rows(tmp_path)) == (0 if log == "off" else 15)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"CANARY" not in written


async def test_secrets_never_reach_the_disk_not_even_its_log(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    secret = "sk-" + "canary" * 5
    raw = exchange(
        attempt(chat_body(f"your key is {secret}")),
        body=json.dumps({"model": "m", "messages": [{"role": "user", "content": f"key {secret}"}]}).encode(),
        policy=replace(FULL, redact=frozenset({"secrets"})),
    )
    spool.offer(raw)
    wait_for(lambda: spool.counts().durable == 1)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret.encode() not in written
    await drained(spool)
    (record,) = records(tmp_path)
    assert record.request["messages"][0]["content"].split()[-1] == record.attempts[0].answer.text.split()[-1]
    assert record.policy.redaction_version == "1:secrets"


def test_the_secret_is_its_owners_only(tmp_path):
    spool = open_spool(settings(tmp_path), "gw")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    asyncio.run(spool.drain(5))


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_a_locked_file_costs_its_batches_and_recovers_without_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_S", 0.01)
    monkeypatch.setattr(module, "RETRY_AFTER_S", (0.01,))
    spool = open_spool(settings(tmp_path), "gw")
    with closing(sqlite3.connect(spool_path(tmp_path, "gw"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        spool.offer(exchange())
        wait_for(lambda: spool.counts().dropped["disk_full"] == 1)
        other.execute("ROLLBACK")
    spool.offer(exchange())
    wait_for(lambda: spool.counts().durable == 1)
    counts = await drained(spool)
    assert (counts.eligible, counts.durable) == (2, 1)
    assert len(rows(tmp_path)) == 1


async def test_a_short_lock_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_S", 0.01)
    spool = open_spool(settings(tmp_path), "gw")
    failed = threading.Event()
    real = module.Writer._disconnect

    def disconnect(self):
        real(self)
        failed.set()

    monkeypatch.setattr(module.Writer, "_disconnect", disconnect)
    with closing(sqlite3.connect(spool_path(tmp_path, "gw"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        spool.offer(exchange())
        assert failed.wait(DEADLINE_S)
        other.execute("ROLLBACK")
    assert (await drained(spool)).durable == 1


def test_a_full_disk_is_counted_exactly_and_recovers_without_a_restart(tmp_path):
    told = json.loads(run("full", tmp_path, "gw").stdout.splitlines()[-1])
    before, during, after = told
    assert [each["balance"] for each in told] == [0, 0, 0]
    assert before["eligible"] == 0
    assert during["disk_full"] > 0
    assert during["disk_full"] + during["durable"] == 60
    assert after["durable"] == during["durable"] + 20
    assert len(rows(tmp_path)) == after["durable"]


async def test_a_disk_that_never_answers_is_cut_at_the_deadline_and_counted(tmp_path, stalled):
    spool = open_spool(settings(tmp_path), "gw")
    for _ in range(600):
        spool.offer(exchange())
    hurried = threading.Thread(target=lambda: spool._writer.hurry.wait(DEADLINE_S) and stalled.set())
    hurried.start()
    counts = await spool.drain(0.05)
    hurried.join()
    assert counts.balance == 0
    assert counts.in_queue == 0
    assert counts.dropped["disk_full"] > 0
    assert counts.durable == len(rows(tmp_path))


def test_nothing_reported_durable_is_missing_after_kill_9(tmp_path):
    rng = random.Random(9)
    for number in range(10):
        gateway = f"gw-{number}"
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/gateway/spool_process.py"), str(tmp_path), gateway, "kill"],
            stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path,
        )  # fmt: skip
        with process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(rng.randint(1, 8))]
            process.kill()
            lines += process.stdout.readlines()
        reported = max(int(line) for line in lines if line.endswith(b"\n"))
        found = records(tmp_path, gateway)
        ids = [record.id for record in found]
        assert ids == [f"{gateway}-{index:08d}" for index in range(len(ids))]
        assert len(ids) >= reported > 0


def run(what, data_dir, gateway):
    command = [sys.executable, str(ROOT / "tests/gateway/spool_process.py"), str(data_dir), gateway, what]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, cwd=data_dir, check=True, capture_output=True, timeout=300)
