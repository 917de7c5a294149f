"""What begins a new epoch: every word of the declaration on which evidence rests, and nothing else."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.contracts.load import validated
from tutelage.control.__main__ import rubric_digests
from tutelage.control.declaration import declared

Document = dict[str, Any]
RUBRICS = {"triage@1": "digest of the rubric, its labels and the judge's prompt"}


def document() -> Document:
    def upstream(name: str, **more: Any) -> Document:
        return {"kind": "openai", "base_url": f"http://{name}/v1", "model": name, "version": "1"} | more

    return {
        "upstreams": {
            "teacher": upstream("teacher"),
            "student": upstream("student", trained_until="2026-01-01"),
            "judge": upstream("judge"),
            "other": upstream("other"),
        },
        "routes": {
            "triage": {
                "teacher": "teacher",
                "student": "student",
                "rubric": "triage@1",
                "judge": {"upstream": "judge"},
                "capture": {"content": "full", "purpose": "test"},
                "rollout": {"mode": "gated"},
            }
        },
    }


def epoch_of(words: Document, rubrics: dict[str, str] = RUBRICS) -> str:
    found = declared(validated(words, "test"), "triage", rubrics, 0.0)
    assert found is not None
    return found.epoch.id


def test_the_same_words_are_the_same_epoch():
    assert epoch_of(document()) == epoch_of(document())


def test_another_rubric_other_labels_or_another_prompt_is_another_epoch():
    assert epoch_of(document(), {"triage@1": "another digest"}) != epoch_of(document())


CHANGES: dict[str, Callable[[Document], Any]] = {
    "the teacher's version": lambda all_: all_["upstreams"]["teacher"].update(version="2"),
    "the teacher's model": lambda all_: all_["upstreams"]["teacher"].update(model="another"),
    "the student's version": lambda all_: all_["upstreams"]["student"].update(version="2"),
    "the student's model": lambda all_: all_["upstreams"]["student"].update(model="another"),
    "the student's training": lambda all_: all_["upstreams"]["student"].update(trained_until="2026-02-01"),
    "the judge's version": lambda all_: all_["upstreams"]["judge"].update(version="2"),
    "the judge's model": lambda all_: all_["upstreams"]["judge"].update(model="another"),
    "the judge": lambda all_: all_["routes"]["triage"]["judge"].update(upstream="other"),
    "its fallback": lambda all_: all_["routes"]["triage"]["judge"].update(fallback="other"),
    "the system prompt": lambda all_: all_["routes"]["triage"].update(system_prompt_version="2"),
    "the margin": lambda all_: all_["routes"]["triage"]["rollout"].update(margin=0.04),
    "alpha": lambda all_: all_["routes"]["triage"]["rollout"].update(alpha=0.004),
    "sigma0": lambda all_: all_["routes"]["triage"]["rollout"].update(sigma0=0.2),
    "a gate": lambda all_: all_["routes"]["triage"]["rollout"].update(gates={"floor": 0.5}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_what_evidence_rests_on_is_another_epoch(change: Callable[[Document], Any]):
    changed = copy.deepcopy(document())
    change(changed)
    assert epoch_of(changed) != epoch_of(document())


def test_what_a_call_costs_and_how_many_are_judged_is_not():
    changed = document()
    changed["upstreams"]["teacher"]["cost"] = {"prompt_usd_per_mtok": 1, "completion_usd_per_mtok": 2}
    changed["routes"]["triage"]["judge"]["rate"] = "50%"
    assert epoch_of(changed) == epoch_of(document())


RUBRIC = """
name: triage
version: 1
labels: right.jsonl
criteria:
  - {name: queue, weight: 0.5, reference: label, check: {kind: label}}
  - {name: helpful, weight: 0.5, judge: {question: "Does it help?"}}
"""
RIGHT = '{"input_sha256": "' + 64 * "0" + '", "value": "net"}'


def digest_of(folder: Path, rubric: str = RUBRIC, right: str = RIGHT) -> str:
    (folder / "triage@1.yaml").write_text(rubric)
    (folder / "right.jsonl").write_text(right)
    return rubric_digests(validated(document(), "test"), folder)["triage@1"]


def test_a_rubric_is_known_by_what_it_says_its_right_answers_and_the_words_put_to_the_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = digest_of(tmp_path)
    assert digest_of(tmp_path, RUBRIC + "# a remark\n") == first
    others = {
        digest_of(tmp_path, RUBRIC.replace("Does it help?", "Is it true?")),
        digest_of(tmp_path, right=RIGHT.replace("net", "mail")),
    }
    monkeypatch.setattr("scoring.judges.prompt.MAX_ANSWER_CHARACTERS", 9)
    assert len({first, *others, digest_of(tmp_path)}) == 4
