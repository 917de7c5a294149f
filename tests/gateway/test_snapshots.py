"""What a gateway knows and keeps: newer snapshots, kill files, a store that goes away, cold starts."""

import json
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway import snapshots
from gateway.snapshots import Snapshots, Source, View, snapshot_of
from tests.gateway.harness import KEYS, MemoryStore, document, key, replace_snapshot, rollout, running, until
from tests.gateway.model_server import ModelServer
from tutelage.contracts.load import validated
from tutelage.contracts.snapshot import decode_snapshot

ASK: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


def poller(data_dir: Path, open_store: Callable[[], Source]) -> tuple[Snapshots, list[View]]:
    settings = validated(document("http://a/v1", "http://b/v1", data_dir), "test")
    views: list[View] = []
    return Snapshots(settings=settings, open_store=open_store, deliver=views.append), views


def store_at(data_dir: Path, sequence: int, generation: int = 1) -> MemoryStore:
    settings = validated(document("http://a/v1", "http://b/v1", data_dir), "test")
    return MemoryStore(replace_snapshot(snapshot_of(settings, KEYS), generation=generation, sequence=sequence))


def no_store() -> Source:
    raise OSError("no store")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "COLD_START_S", 0.3)
    monkeypatch.setattr(snapshots, "POLL_S", 0.02)


async def test_a_newer_snapshot_is_delivered_and_kept_on_disk(tmp_path: Path):
    store = store_at(tmp_path, 3)
    polling, views = poller(tmp_path, lambda: store)
    first = polling.start()
    assert (first.snapshot.sequence, first.source) == (3, "store")
    store.publish(rollouts={"chat": rollout(100)})
    await until(lambda: views[-1].snapshot.sequence == 4)
    await until(lambda: decode_snapshot((tmp_path / "snapshot.json").read_bytes()).sequence == 4)
    polling.stop()
    assert (tmp_path / "snapshot.json").stat().st_mode & 0o077 == 0


async def test_it_never_goes_back_but_takes_a_new_generation(tmp_path: Path):
    store = store_at(tmp_path, 7)
    polling, views = poller(tmp_path, lambda: store)
    polling.start()
    store.current = store_at(tmp_path, 6).current
    await until(lambda: store.reads > 1)
    store.current = store_at(tmp_path, 1, generation=2).current
    await until(lambda: views[-1].snapshot.generation == 2)
    polling.stop()
    assert [(view.snapshot.generation, view.snapshot.sequence) for view in views] == [(1, 7), (2, 1)]


async def test_a_store_that_goes_away_leaves_the_last_snapshot_and_may_come_back(tmp_path: Path):
    opened: list[MemoryStore] = []
    store = store_at(tmp_path, 1)

    def open_store() -> Source:
        opened.append(store)
        return store

    polling, views = poller(tmp_path, open_store)
    polling.start()
    store.broken = True
    await until(lambda: len(opened) >= 3)
    assert polling.current is not None
    assert polling.current.snapshot.sequence == 1
    store.current = store_at(tmp_path, 2).current
    store.broken = False
    await until(lambda: views[-1].snapshot.sequence == 2)
    polling.stop()


async def test_without_a_store_it_starts_from_the_disk_and_takes_what_is_newer_later(tmp_path: Path):
    store = store_at(tmp_path, 9)
    polling, _ = poller(tmp_path, lambda: store)
    polling.start()
    await until((tmp_path / "snapshot.json").exists)
    polling.stop()
    gone = [True]

    def sometimes() -> Source:
        if gone[0]:
            raise OSError("not yet")
        return store

    polling, views = poller(tmp_path, sometimes)
    cold = polling.start()
    assert (cold.source, cold.snapshot.sequence) == ("disk", 9)
    gone[0] = False
    store.publish()
    await until(lambda: bool(views) and views[-1].source == "store")
    polling.stop()
    assert views[-1].snapshot.sequence == 10


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
async def test_with_nothing_to_read_the_teacher_serves_everything(content: bytes, tmp_path: Path):
    (tmp_path / "snapshot.json").write_bytes(content)
    polling, _ = poller(tmp_path, no_store)
    cold = polling.start()
    polling.stop()
    assert (cold.source, cold.snapshot.rollouts, cold.snapshot.keys) == ("configuration", {}, ())


async def test_before_the_first_publication_keys_are_known_already(tmp_path: Path):
    store = MemoryStore(None)
    polling, _ = poller(tmp_path, lambda: store)
    cold = polling.start()
    polling.stop()
    assert (cold.source, cold.snapshot.keys) == ("configuration", KEYS)


async def test_a_snapshot_of_another_version_is_refused_and_the_last_one_stays(tmp_path: Path):
    store = store_at(tmp_path, 1)
    polling, views = poller(tmp_path, lambda: store)
    first = polling.start()
    config = first.snapshot.config
    unreadable = type(config)(digest="x", settings=config.settings | {"future": 1}, published_at=0.0)
    store.publish(config=unreadable)
    store.publish(config=config)
    await until(lambda: views[-1].snapshot.sequence == 3)
    polling.stop()
    assert 2 not in [view.snapshot.sequence for view in views]


async def test_kill_files_work_while_the_store_is_gone(tmp_path: Path):
    store = store_at(tmp_path, 1)
    polling, views = poller(tmp_path, lambda: store)
    polling.start()
    store.broken = True
    (tmp_path / "kill").mkdir()
    (tmp_path / "kill" / "chat").touch()
    await until(lambda: views[-1].kills == {"chat"})
    (tmp_path / "kill" / "chat").unlink()
    await until(lambda: views[-1].kills == frozenset())
    polling.stop()
    assert views[-1].snapshot.sequence == 1


async def test_a_kill_is_not_taken_back_by_a_snapshot_that_was_read_before_it(tmp_path: Path):
    settings, store = validated(document("http://a/v1", "http://b/v1", tmp_path), "test"), store_at(tmp_path, 1)
    views: list[View] = []
    killed = threading.Event()

    def deliver(view: View) -> None:
        if view.snapshot.sequence == 2 and not view.kills:
            (tmp_path / "kill" / "chat").touch()
            killed.wait(0.3)  # time for the other thread to overtake
        views.append(view)
        if view.kills:
            killed.set()

    (tmp_path / "kill").mkdir()
    polling = Snapshots(settings=settings, open_store=lambda: store, deliver=deliver)
    polling.start()
    store.publish(rollouts={"chat": rollout(100)})
    await until(lambda: len(views) == 3)
    polling.stop()
    assert [(view.snapshot.sequence, sorted(view.kills)) for view in views] == [(1, []), (2, []), (2, ["chat"])]


# --- in a gateway -----------------------------------------------------------------------------------------------------


async def test_a_share_a_kill_and_a_revoked_key_take_effect_while_it_serves(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        client = at.http()

        async def arm() -> str:
            return (await client.post(PATH, json=ASK)).headers["x-tutelage-arm"]

        assert await arm() == "teacher"
        await at.share(10_000)
        assert await arm() == "student"
        (tmp_path / "kill").mkdir()
        (tmp_path / "kill" / "chat").touch()
        await until(lambda: at.gateway.front.routing.kills == {"chat"})
        assert await arm() == "teacher"
        (tmp_path / "kill" / "chat").unlink()
        await until(lambda: not at.gateway.front.routing.kills)
        assert await arm() == "student"
        await at.publish(rollouts={"chat": rollout(10_000, killed=True)})
        assert await arm() == "teacher"
        at.store.broken = True
        assert await arm() == "teacher"
        at.store.broken = False
        await at.publish(keys=(key("another"),))
        assert (await client.post(PATH, json=ASK)).status_code == 401


async def test_another_upstream_takes_over_without_a_restart(
    teacher: ModelServer, student: ModelServer, tmp_path: Path
):
    async with running(teacher, student, tmp_path) as at:
        before = at.gateway._lanes["big"]
        content = document(student.url, student.url, tmp_path)
        moved = snapshot_of(validated(content, "test"))
        await at.publish(config=moved.config)
        answer = await at.http().post(PATH, json=ASK)
        assert at.gateway._lanes["big"] is not before
        assert at.gateway._lanes["small"].calls == 0
    assert answer.json()["choices"][0]["message"]["content"] == "I am student"


async def test_without_any_key_it_says_try_again(teacher: ModelServer, student: ModelServer, tmp_path: Path):
    store = MemoryStore(None)
    store.keys = tuple  # type: ignore[method-assign]  # no key was ever made
    async with running(teacher, student, tmp_path, store=store) as at:
        answer = await at.http().post(PATH, json=ASK)
        ready = await at.http(None).get("/readyz")
        live = await at.http(None).get("/livez")
        other = await at.http(None).post("/livez")
    assert (other.status_code, other.headers["allow"]) == (405, "GET")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert (ready.status_code, live.status_code) == (503, 200)


def test_the_configurations_digest_depends_on_its_content_only(tmp_path: Path):
    content = document("http://a/v1", "http://b/v1", tmp_path)
    shuffled = dict(reversed(list(json.loads(json.dumps(content)).items())))
    first, second = (snapshot_of(validated(each, "test")).config.digest for each in (content, shuffled))
    assert first == second
    assert len(first) == len(sha256().hexdigest())
