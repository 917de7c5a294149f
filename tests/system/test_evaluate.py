"""`tutelage evaluate` against a running installation, on the demo's recorded models."""

import asyncio
import json
import sys
from pathlib import Path

from tests.gateway.model_server import answering, model_server
from tutelage.demo.scenario import SCENARIOS
from tutelage.demo.site import ROUTE, Site, running_site
from tutelage.demo.task import recorded_stage
from tutelage.store.registry import open_store

INPUTS = 60


async def run_evaluate(site: Site, file: Path, out: Path) -> tuple[int, str, str]:
    argv = ["-m", "tutelage.cli.main", "evaluate", str(file), "--config", str(site.config), "--out", str(out), "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    return process.returncode or 0, said.decode(), complained.decode()


async def test_sixty_recorded_inputs_through_both_arms(tmp_path: Path):
    file, out = tmp_path / "inputs.jsonl", tmp_path / "report.html"
    async with (
        recorded_stage(SCENARIOS["weak"], tmp_path / "stage", "none") as stage,
        running_site(tmp_path / "site", stage.document()) as site,
    ):
        lines = [json.dumps({"body": dict(body)}) for body in stage.bodies[:INPUTS]]
        file.write_text("\n".join([*lines, json.dumps({"input": "<script>nobody recorded this</script>"})]))
        code, said, complained = await run_evaluate(site, file, out)
        store = open_store(f"sqlite:///{site.data_dir}/tutelage.db")
        try:
            kept = store.keys()
        finally:
            store.close()

    assert code == 0, complained
    found = json.loads(said)
    assert found["inputs"] == INPUTS + 1
    assert found["scored"] == INPUTS
    assert found["failures"] == {"no_reference": 1}
    assert found["mean_d"] < 0.0
    assert found["teacher"]["score"] > found["student"]["score"]
    assert found["teacher"]["usd_per_call"] > found["student"]["usd_per_call"] > 0
    assert found["teacher"]["failures"] == found["student"]["failures"] == 1
    assert 0.1 < found["suggested_sigma0"] <= 1.0
    report = out.read_text()
    assert "&lt;script&gt;nobody recorded this" in report
    assert "<script" not in report
    assert [key.revoked_at is not None for key in kept if key.label == "evaluate"] == [True]


async def test_without_a_gateway_it_says_so(tmp_path: Path):
    async with recorded_stage(SCENARIOS["climb"], tmp_path / "stage", "none") as stage:
        async with running_site(tmp_path / "site", stage.document()) as site:
            pass
        file = tmp_path / "inputs.jsonl"
        file.write_text(json.dumps(dict(stage.bodies[0])))
        code, _, complained = await run_evaluate(site, file, tmp_path / "report.html")
    assert code == 1
    assert "does not answer (ConnectError): is it running" in complained


RUBRIC = """
name: kind
version: 1
criteria:
  - {name: kind, weight: 1, judge: {question: "Is the answer kind?", scale: 4}}
"""
VERDICT = json.dumps({"rationale": "<b>both</b> are", "a": {"kind": 3}, "b": {"kind": 3}})


async def test_a_judge_is_asked_through_its_internal_route_and_its_price_is_shown(tmp_path: Path):
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "rubrics" / "kind@1.yaml").write_text(RUBRIC)
    file = tmp_path / "inputs.jsonl"
    file.write_text("\n".join(json.dumps({"input": f"input {n}"}) for n in range(8)))
    price = {"prompt_usd_per_mtok": 1, "completion_usd_per_mtok": 1}
    async with (
        model_server("teacher", answering("a kind answer")) as teacher,
        model_server("student", answering("another kind answer")) as student,
        model_server("judge", answering(VERDICT)) as judge,
    ):
        document = {
            "rubrics": str(tmp_path / "rubrics"),
            "upstreams": {
                "big": {"kind": "openai", "base_url": teacher.url, "model": "big-1", "cost": price},
                "small": {"kind": "vllm", "base_url": student.url, "model": "small-1", "trained_until": 1.0},
                "judge": {"kind": "openai", "base_url": judge.url, "model": "judge-1", "cost": price},
            },
            "routes": {
                ROUTE: {
                    "teacher": "big",
                    "student": "small",
                    "share": "10%",
                    "rubric": "kind@1",
                    "judge": {"upstream": "judge"},
                }
            },
        }
        async with running_site(tmp_path / "site", document) as site:
            code, said, complained = await run_evaluate(site, file, tmp_path / "report.html")

    assert code == 0, complained
    found = json.loads(said)
    assert (found["scored"], found["ties"], found["mean_d"]) == (8, 8, 0.0)
    assert found["judge_usd"] > 0
    assert found["teacher"]["usd_per_call"] > 0
    assert found["student"]["usd_per_call"] is None
    assert "&lt;b&gt;both&lt;/b&gt;" in (tmp_path / "report.html").read_text()
