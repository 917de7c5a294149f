"""What every command has: `--config FILE` that it reads, and `--json` that a program can read."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from tests.tutelage.cli.conftest import CONFIG, Site
from tests.tutelage.store.made import judgement, pair
from tutelage.cli import aa, demo, evaluate
from tutelage.cli.main import application, main
from tutelage.demo.site import free_port
from tutelage.store.base import Joined

SHORT = {
    "status": ("status",),
    "split": ("split triage 25",),
    "pause": ("pause triage",),
    "resume": ("pause triage", "resume triage"),
    "promote": ("promote triage",),
    "rollback": ("rollback triage",),
    "kill": ("kill triage",),
    "clear": ("kill triage", "clear triage"),
    "explain": ("explain triage",),
    "history": ("history triage",),
    "check-config": ("check-config",),
    "demo": ("demo",),
    "evaluate": ("evaluate INPUTS --route triage --out OUT",),
    "aa": ("aa triage INPUTS",),
    "plan": ("plan triage --calls-per-day 20000 --runs 0",),
    "simulate": ("simulate --captured triage --runs 2 --requests 100",),
    "keys create": ("keys create",),
    "keys list": ("keys create", "keys list"),
    "keys revoke": ("keys revoke ID",),
}
"""What makes each command succeed; the last line is the command."""
ROLES = {
    "serve": {"starting", "serving", "active", "ready"},
    "gateway": {"serving"},
    "control": {"active"},
    "worker": {"ready"},
}
"""Commands that run until they are told to end, and the events that their logs come to."""


def commands(group: Any, *before: str) -> Iterator[tuple[str, set[str]]]:
    """Every command and its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield " ".join((*before, name)), {option for one in command.params for option in one.opts}


RUBRIC = (
    "name: exact\nversion: 1\ncriteria: [{name: short, weight: 1, check: {kind: length, options: {maximum: 20}}}]\n"
)
LISTENING = """
data_dir: {folder}
gateway: {{bind: "127.0.0.1:{gateway}", processes: 1, metrics_port: 0}}
admin: {{bind: "127.0.0.1:{admin}"}}
upstreams: {{gpt: {{kind: openai, base_url: "http://127.0.0.1:1/v1", model: m}}}}
routes: {{plain: {{teacher: gpt}}}}
"""
PLAYED = {
    "scenario": "climb",
    "requests": 1,
    "errors": 0,
    "pairs": 1,
    "scores": 1,
    "duration_s": 1.0,
    "decisions": [],
    "final_phase": "COMPLETE",
    "final_share_bp": 9_000,
    "cost_usd": {},
    "live": ["gateway"],
    "recorded": [],
    "expected": "the top",
    "as_expected": True,
}
EVERY = dict(commands(typer.main.get_command(application())))


@pytest.fixture
def lines(begun: Site, tmp_path: Path, monkeypatch) -> dict[str, list[list[str]]]:
    """The lines of SHORT, for a site on which each succeeds. What would ask a running gateway is answered at once."""
    monkeypatch.setenv("CLI_TEST_SECRET", "s")
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "rubrics" / "exact@1.yaml").write_text(RUBRIC)
    begun.config.write_text(f"rubrics: {tmp_path}/rubrics\n{CONFIG.format(data_dir=begun.data_dir)}")
    (tmp_path / "inputs.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    d = np.random.default_rng(7).choice([-0.25, 0.0, 0.25], 100)
    begun.store.join(Joined(pairs=[pair(f"p{n}", 1.0 + n) for n in range(100)]))
    begun.store.judged([judgement(f"p{n}", d=float(value)) for n, value in enumerate(d)])
    for module, name, found in ((evaluate, "_compared", []), (aa, "_send", []), (demo, "_replayed", PLAYED)):
        monkeypatch.setattr(module, name, answering(found))
    monkeypatch.setattr(aa, "_check", lambda settings, route: None)
    monkeypatch.setattr(aa, "KEY_SPREADS_S", 0.0)
    key = begun.run("keys", "create", "--json").document["id"]
    words = {"INPUTS": f"{tmp_path}/inputs.jsonl", "OUT": f"{tmp_path}/out.html", "ID": key}
    return {name: [[words.get(word, word) for word in line.split()] for line in told] for name, told in SHORT.items()}


def answering(found: Any) -> Any:
    async def answer(*_: Any) -> Any:
        return found

    return answer


def test_every_command_has_both_options():
    assert {name for name, options in EVERY.items() if not {"--config", "--json"} <= options} == set()
    assert set(EVERY) == {*SHORT, *ROLES}


@pytest.mark.parametrize("name", SHORT)
def test_json_is_one_document_on_standard_output(begun: Site, lines: dict[str, list[list[str]]], name: str):
    *before, last = lines[name]
    for line in before:
        assert begun.run(*line).code == 0
    answered = begun.run(*last, "--json")
    assert answered.document is not None, answered.err
    assert begun.run(*last).out != answered.out


@pytest.mark.parametrize("name", [*SHORT, *ROLES])
def test_the_named_file_is_the_one_that_is_read(
    begun: Site, lines: dict[str, list[list[str]]], monkeypatch, capsys, name: str
):
    line = lines[name][-1] if name in lines else [name]
    nowhere = f"{begun.data_dir}/nowhere.yaml"
    monkeypatch.setattr(sys, "argv", ["tutelage", *line, "--config", nowhere])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 2
    assert f"cannot read {nowhere}" in capsys.readouterr().err


@pytest.mark.parametrize("role", ROLES)
def test_a_role_logs_json_lines_on_standard_output(site: Site, role: str):
    site.config.write_text(LISTENING.format(folder=site.data_dir, gateway=free_port(), admin=free_port()))
    command = [sys.executable, "-m", "tutelage.cli.main", role, "--json", "--config", str(site.config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        seen: set[str] = set()
        while not ROLES[role] <= seen and (line := process.stdout.readline()):
            seen.add(json.loads(line)["event"])
        process.terminate()
        process.terminate()  # told twice, it ends once
        rest, said = process.communicate(timeout=300)
    finally:
        process.kill()
    assert ROLES[role] <= seen, said.decode()
    assert all(json.loads(line) for line in rest.splitlines())
    assert (process.returncode, said) == (0, b"")


def test_the_demo_listens_where_a_configuration_says(site: Site, monkeypatch):
    told: list[Any] = []

    async def played(*arguments: Any) -> Any:
        told.append(arguments[-1])
        return PLAYED

    monkeypatch.setattr(demo, "_replayed", played)
    site.config.write_text(site.config.read_text() + 'gateway: {bind: "127.0.0.1:8180", metrics_port: 9200}\n')
    assert site.run("demo").code == 0
    assert (told[0]["gateway"]["bind"], told[0]["gateway"]["metrics_port"]) == ("127.0.0.1:8180", 9200)
    assert told[0]["admin"] == {"bind": "127.0.0.1:8081"}


def test_a_report_that_cannot_be_written_is_said_before_anything_is_asked(begun: Site, tmp_path: Path):
    inputs = tmp_path / "inputs.jsonl"
    inputs.write_text('{"messages": [{"role": "user", "content": "hi"}]}\n')
    told = begun.run("evaluate", str(inputs), "--route", "triage", "--out", str(inputs / "report.html"))
    assert told.code == 2
    assert "name another report with --out HTML" in told.err
    kept = tmp_path / "report.html"
    begun.run("evaluate", str(tmp_path / "nothing.jsonl"), "--route", "triage", "--out", str(kept))
    assert not kept.exists()
