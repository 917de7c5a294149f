"""The recording that ships with the project: whole, of real models, and what the documents say of it."""

import json
import re
from pathlib import Path

import pytest

from examples.sections.task import LABELS, chat_request, input_sha256, read_descriptions
from tutelage.contracts.errors import ConfigurationError
from tutelage.demo.recording import MODELS, Recorded, Row, key_of, read, write
from tutelage.demo.scorecard import scorecard
from tutelage.demo.task import RECORDING, ROOT, provenance


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(read(RECORDING).values())


@pytest.fixture(scope="module")
def labels() -> dict[str, str]:
    lines = [json.loads(line) for line in LABELS.read_text().splitlines()]
    return {line["input_sha256"]: line["value"] for line in lines}


def test_every_held_out_input_has_an_answer_of_every_model(rows: list[Row]):
    held_out = {row.text for row in read_descriptions("heldout")}
    assert {row.input for row in rows} == held_out
    assert all(set(row.answers) == set(MODELS) for row in rows)


def test_no_held_out_input_is_in_a_part_that_trains(rows: list[Row]):
    trained = {row.text for row in read_descriptions("teacher", "capture", "capture_other")}
    assert not trained & {row.input for row in rows}


def test_rows_are_found_by_the_messages_that_the_application_sends(rows: list[Row]):
    for row in rows:
        assert key_of(chat_request(row.input, model="any")["messages"]) == row.messages_sha256


def test_latencies_and_usage_are_recorded(rows: list[Row]):
    for row in rows:
        for recorded in row.answers.values():
            assert recorded.total_ms > 0
            assert json.loads(recorded.body)["usage"]["completion_tokens"] > 0


def test_provenance_and_readme_say_what_the_recording_holds(rows: list[Row], labels: dict[str, str]):
    card = scorecard(rows, {row.input: labels[input_sha256(row.input)] for row in rows})
    readme = (ROOT / "README.md").read_text()
    for name, said in provenance()["models"].items():
        assert said["heldout"] == card[name]
        line = re.search(rf"^\| {name} .*$", readme, re.MULTILINE)
        assert line
        assert f"{card[name]['accuracy'] * 100:.1f} %" in line[0]
        if name != "teacher":
            assert f"{card[name]['mean_d']:.3f}" in line[0]
            assert f"{card[name]['agreement'] * 100:.1f} %" in line[0]


def test_the_same_rows_give_the_same_bytes_and_are_read_again(tmp_path: Path):
    answers = {name: Recorded(total_ms=1.5, body="{}") for name in MODELS}
    row = Row(messages_sha256="k", input="x", answers=answers)
    write(tmp_path / "a", [row])
    write(tmp_path / "b", [row])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read(tmp_path / "a") == {"k": row}


def test_a_recording_that_lacks_an_answer_names_it(tmp_path: Path):
    row = Row(messages_sha256="k", input="x", answers={"teacher": Recorded(total_ms=1.5, body="{}")})
    write(tmp_path / "a", [row])
    with pytest.raises(ConfigurationError, match="input 'x' has no answer of good, weak"):
        read(tmp_path / "a")
    with pytest.raises(ConfigurationError, match="make record"):
        read(tmp_path / "nowhere")
