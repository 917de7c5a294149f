"""A folder of rubrics and a store with pairs in it."""

import json
from pathlib import Path

import pytest

RIGHT_ANSWERS = 5_000


@pytest.fixture(scope="session")
def rubrics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rubrics `sections@1` (label) and `judged@1` (a judge on `helpful` .75, a check .25), `compared@1` (the same,
    pairwise); input n's answer is `net`."""
    folder = tmp_path_factory.mktemp("rubrics")
    lines = [json.dumps({"input_sha256": f"{n:064x}", "value": "net"}) for n in range(RIGHT_ANSWERS)]
    (folder / "labels.jsonl").write_text("\n".join(lines))
    (folder / "sections@1.yaml").write_text(
        "name: sections\nversion: 1\nlabels: labels.jsonl\n"
        "criteria: [{name: section, weight: 1, reference: label, check: {kind: label}}]\n"
    )
    (folder / "judged@1.yaml").write_text(
        "name: judged\nversion: 1\ncriteria:\n"
        "  - {name: helpful, weight: 0.75, judge: {question: 'Does it help?', scale: 4, anchors: {0: not, 4: fully}}}\n"
        "  - {name: short, weight: 0.25, check: {kind: length, options: {maximum: 2000000}}}\n"
    )
    (folder / "compared@1.yaml").write_text(
        (folder / "judged@1.yaml")
        .read_text()
        .replace("name: judged\n", "name: compared\njudging: pairwise\n")
        .replace(", scale: 4, anchors: {0: not, 4: fully}", "")
    )
    return folder
