import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.events import Begin
from router.rollout import Rollout
from router.stages import Ladder
from router.types import Mode
from tests.tutelage.store.made import epoch
from tutelage.cli.main import main
from tutelage.contracts.ids import uuid7
from tutelage.contracts.load import load
from tutelage.contracts.snapshot import PublishedConfig
from tutelage.control.snapshot import Publisher, Sources
from tutelage.store.apply import apply, create
from tutelage.store.base import Store
from tutelage.store.registry import open_store

CONFIG = """
data_dir: {data_dir}
upstreams:
  gpt: {{kind: openai, base_url: "http://127.0.0.1:1/v1", model: m, api_key: ${{CLI_TEST_SECRET}}}}
  small: {{kind: vllm, base_url: "http://127.0.0.1:1/v1", model: s, version: v7, trained_until: 2026-01-01}}
routes:
  triage:
    teacher: gpt
    student: small
    capture: {{content: full, purpose: tests}}
    rubric: exact@1
    rollout: {{stages: [0%, 1%, 10%, 90%], dwell: 0}}
  fixed: {{teacher: gpt, student: small, share: 10%}}
  plain: {{teacher: gpt}}
"""


@dataclass(frozen=True)
class Answered:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.out)


@dataclass(frozen=True)
class Site:
    """A configuration, its data folder and its store, as the commands find them."""

    config: Path
    data_dir: Path
    store: Store
    run: Callable[..., Answered]


@pytest.fixture
def site(tmp_path: Path, monkeypatch, capsys) -> Iterator[Site]:
    config, data_dir = tmp_path / "tutelage.yaml", tmp_path / "data"
    config.write_text(CONFIG.format(data_dir=data_dir))

    def run(*arguments: str) -> Answered:
        monkeypatch.setattr(sys, "argv", ["tutelage", *arguments, "--config", str(config)])
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0
        out, err = capsys.readouterr()
        return Answered(code, out, err)

    store = open_store(f"sqlite:///{data_dir}/tutelage.db")
    yield Site(config, data_dir, store, run)
    store.close()


@pytest.fixture
def begun(site: Site) -> Site:
    """The site with its configuration published and the rollout of `triage` in shadow, at revision 2."""
    settings = load(site.config)
    site.store.publish(PublishedConfig(digest="d", settings=settings.public(), published_at=1.0))
    rollout = Rollout(
        route="triage",
        student="small@v7",
        mode=Mode.GATED,
        ladder=Ladder(shares_bp=(0, 100, 1000, 9000)),
        epoch="e1",
        salt="salt",
    )
    create(site.store, rollout, epoch=epoch(), actor="configuration", reason="declared", at=1.0, new_id=uuid7)
    begin = Begin(at=2.0, actor="configuration", reason="it may be measured")
    apply(site.store, "triage", begin, expected_revision=None, new_id=uuid7)
    return site


@pytest.fixture
def carved(site: Site, capsys) -> Site:
    """The site with `triage` of which `gold` climbs apart, both in shadow."""
    written = site.config.read_text().replace(
        "dwell: 0}", "dwell: 0, gates: {carve_outs: {slice: slice, weights: {gold: 0.5}}}}"
    )
    site.config.write_text(
        written.replace("    rubric: exact@1", "    rubric: exact@1\n    slices: {routing: [header:x-tutelage-slice]}")
    )
    settings = load(site.config)
    lease = site.store.acquire("control", "test", 10.0, 1e9)
    assert lease is not None
    Publisher(settings, {"exact@1": "digest"}, Sources(new_id=uuid7, new_salt=lambda: "salt")).publish(
        site.store, lease, 2e9
    )
    capsys.readouterr()
    return site
