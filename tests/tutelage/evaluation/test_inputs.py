import json

import pytest

from tutelage.contracts.errors import ConfigurationError
from tutelage.evaluation.inputs import read_inputs, request_of

USER = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    "line",
    [
        {"messages": [USER]},
        {"model": "gpt-4.1", "stream": True, "messages": [USER]},
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [USER]}},
        {"messages": [USER, {"role": "assistant", "content": "the answer of then"}]},
        {"input": "hello"},
        {"prompt": "hello"},
    ],
)
def test_every_shape_becomes_the_same_request(line):
    assert request_of(line) == {"messages": [USER]}


def test_parameters_stay_with_the_input():
    assert request_of({"messages": [USER], "temperature": 0, "tools": []}) == {
        "messages": [USER], "temperature": 0, "tools": [],
    }  # fmt: skip


def test_a_file_is_read_up_to_the_limit_and_its_empty_lines_are_none(tmp_path):
    file = tmp_path / "inputs.jsonl"
    file.write_text("\n\n".join(json.dumps({"input": f"input {n}"}) for n in range(5)))
    assert [r["messages"][0]["content"] for r in read_inputs(file, 3)] == ["input 0", "input 1", "input 2"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[1, 2]", "line 1: a line is a JSON object"),
        ('{"text": 1}', "line 1: there are no messages"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "no message is a user's"),
        ('{"input": "fine"}\nnot json', "line 2"),
        ("", "holds no inputs"),
    ],
)
def test_what_is_no_request_is_refused_by_its_line(tmp_path, body, said):
    file = tmp_path / "inputs.jsonl"
    file.write_text(body)
    with pytest.raises(ConfigurationError, match=said):
        read_inputs(file, 10)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_inputs(tmp_path / "nowhere.jsonl", 10)
