"""The process: its life, and kill -9 at any moment."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml

from scoring.gates.controller import decode
from tests.tutelage.control.conftest import Site
from tests.tutelage.control.made import ROUTE, exchange, settings, shadow
from tests.tutelage.control.spooling import spool
from tests.tutelage.control.test_loop import judge
from tutelage.contracts.records import Exchange, ShadowAttempt
from tutelage.control.__main__ import rubric_digests
from tutelage.control.loop import LEASE
from tutelage.control.metrics import Metrics
from tutelage.demo.site import free_port
from tutelage.serve import new_secret
from tutelage.store.base import Store
from tutelage.store.registry import open_store

ROOT = Path(__file__).parents[3]
RUBRIC = {
    "name": "exact",
    "version": 1,
    "criteria": [{"name": "same", "weight": 1, "judge": {"question": "Is it right?"}}],
}
WITHIN_S = 60.0


def wait_for(condition: Callable[[], bool], what: str, while_waiting: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WITHIN_S:g} s: {what}"
        while_waiting()
        time.sleep(0.02)


class Control:
    """A control process on `data_dir`, started and killed as often as one likes."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self.config = data_dir / "tutelage.yaml"
        (data_dir / "rubrics").mkdir()
        (data_dir / "rubrics/exact@1.yaml").write_text(yaml.safe_dump(RUBRIC))
        self.config.write_text(
            yaml.safe_dump(
                {
                    "data_dir": str(data_dir),
                    "rubrics": "rubrics",
                    "admin": {"bind": f"127.0.0.1:{self.port}"},
                    "upstreams": {
                        "gpt": {"kind": "openai", "base_url": "http://127.0.0.1:1", "model": "m", "version": "t1"},
                        "small": {
                            "kind": "vllm",
                            "base_url": "http://127.0.0.1:2",
                            "model": "m",
                            "version": "v1",
                            "trained_until": "2026-01-01",
                        },
                        "judge": {"kind": "openai", "base_url": "http://127.0.0.1:3", "model": "j"},
                    },
                    "routes": {
                        ROUTE: {
                            "teacher": "gpt",
                            "student": "small",
                            "unit": "request",
                            "rubric": "exact@1",
                            "judge": {"upstream": "judge"},
                            "capture": {"content": "full", "purpose": "tests"},
                            "rollout": {"stages": ["0%", "10%", "90%"], "dwell": "1h"},
                        }
                    },
                }
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tutelage.control", "--config", str(self.config)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def end(self, name: signal.Signals) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(name)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        assert self.process is not None
        _, said = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, said.decode()

    def answers(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2.0).status_code == 200
        return False


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    made = Control(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)


def free_the_lease(store: Store) -> None:
    """As if the dead process's lease had run out: taken over, and over at once."""
    store.acquire(LEASE, "test", -1000.0, time.time() + 100.0)


def wait_until_some(store: Store, joined: int, while_waiting: Callable[[], object]) -> None:
    def some() -> bool:
        depth = store.depth(ROUTE)
        return depth.waiting + depth.scored >= joined

    wait_for(some, f"{joined} pairs are joined", while_waiting)


def test_it_serves_the_admin_plane_and_ends_in_order(control: Control, tmp_path: Path):
    control.start()
    wait_for(control.answers, "the admin plane answers")
    reply = httpx.get(f"http://127.0.0.1:{control.port}/admin/routes")
    assert reply.status_code == 401
    code, said = control.end(signal.SIGTERM)
    assert code == 0, said
    assert all(json.loads(line) for line in said.splitlines())


def test_a_configuration_that_cannot_be_used_ends_it_with_two(control: Control):
    control.config.write_text("routes: {}\n")
    control.start()
    code, said = control.ended()
    assert code == 2
    assert "upstreams" in said


def test_killed_at_any_moment_it_loses_nothing_and_doubles_nothing(control: Control, tmp_path: Path):
    rng = random.Random(7)
    store = open_store(f"sqlite:///{tmp_path}/tutelage.db")
    site = Site(data_dir=tmp_path, store=store, loop=None, metrics=Metrics(), now=time.time())  # type: ignore[arg-type] # no loop here
    control.start()
    wait_for(lambda: store.rollout(ROUTE) is not None and store.snapshot() is not None, "the snapshot")
    rollout = store.rollout(ROUTE)
    assert rollout is not None
    sampled = 0
    for number in range(5):
        for burst in range(4):
            records: list[Exchange | ShadowAttempt] = []
            for index in range(60):
                made = exchange(
                    f"x-{number}-{burst}-{index}",
                    admitted_at=time.time(),
                    epoch=rollout.epoch,
                    revision=rollout.revision,
                    salt=rollout.salt,
                )
                records += [made, shadow(made.id, ended_at=time.time())]
                sampled += 1
            rng.shuffle(records)
            middle = rng.randrange(len(records))
            spool(tmp_path, f"g{burst % 2}", records[:middle])
            spool(tmp_path, f"g{burst % 2}", records[middle:])
            judge(site)
        wait_until_some(store, rng.randrange(sampled), lambda: judge(site))
        control.end(signal.SIGKILL)
        free_the_lease(store)
        control.start()

    def folded() -> int:
        body = store.gate_state(ROUTE)
        return 0 if body is None else decode(body).overall.evidence.units

    def all_done() -> bool:
        depth = store.depth(ROUTE)
        return depth.waiting == 0 and depth.scored == sampled and not store.unfolded(ROUTE, 1, 0.0)

    wait_for(all_done, "everything is joined, judged and folded", lambda: judge(site))
    assert folded() == sampled
    assert store.depth(ROUTE).by_exclusion == {}
    assert not store.waiting_halves()
    code, said = control.end(signal.SIGTERM)
    assert code == 0, said
    store.close()


def test_a_key_opens_the_admin_plane_of_the_process(control: Control, tmp_path: Path):
    import hashlib

    from tutelage.contracts.keys import Key

    plain = new_secret()
    store = open_store(f"sqlite:///{tmp_path}/tutelage.db")
    digest = hashlib.sha256(plain.encode()).hexdigest()
    store.put_key(Key(id="k", digest=digest, tenant="t", label="", created_at=1.0, role="admin"))
    control.start()
    wait_for(lambda: control.answers() and store.snapshot() is not None, "it is up")
    shown = httpx.get(
        f"http://127.0.0.1:{control.port}/admin/routes/{ROUTE}", headers={"authorization": f"Bearer {plain}"}
    ).json()
    assert shown["phase"] == "SHADOW"
    control.end(signal.SIGTERM)
    store.close()


def test_other_right_answers_are_another_rubric(tmp_path: Path):
    (tmp_path / "exact@1.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "exact",
                "version": 1,
                "labels": "answers.jsonl",
                "criteria": [{"name": "same", "weight": 1, "reference": "label", "check": {"kind": "label"}}],
            }
        )
    )
    digests = []
    for value, source in (("net", "first"), ("net", "second"), ("mail", "first")):
        line = {"input_sha256": "a" * 64, "value": value, "source": source}
        (tmp_path / "answers.jsonl").write_text(json.dumps(line) + "\n")
        digests.append(rubric_digests(settings(), tmp_path)["exact@1"])
    assert digests[0] == digests[1] != digests[2]
