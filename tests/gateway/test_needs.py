"""What a request needs of its arm, endpoint by endpoint, and what names its conversation."""

import json
from typing import Any

import pytest

from gateway.needs import first_message, needs_of
from gateway.wire import Body, read_body
from router.types import Needs


def body(**fields: Any) -> Body:
    return read_body(json.dumps({"model": "m", **fields}).encode())


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


Case = tuple[dict[str, Any], str, object]

CHAT: list[Case] = [
    ({"tools": [{"type": "function"}]}, "tools", True),
    ({"tools": []}, "tools", False),
    ({"tools": None}, "tools", False),
    ({"response_format": {"type": "json_schema"}}, "structured", True),
    ({"response_format": {"type": "text"}}, "structured", False),
    ({"guided_json": {"type": "object"}}, "structured", True),
    ({"logprobs": True}, "logprobs", True),
    ({"web_search_options": {"search_context_size": "low"}}, "hosted_tools", True),
    ({"previous_response_id": "r"}, "stateful", "previous_response_id"),
    ({"store": True}, "stateful", None),
    ({"max_tokens": 7}, "output_tokens", 7),
    ({"max_completion_tokens": 8, "max_tokens": 7}, "output_tokens", 8),
    ({"max_tokens": "many"}, "output_tokens", 0),
    ({"modalities": ["text", "audio"]}, "audio", True),
    ({"messages": user({"type": "input_audio", "input_audio": {}})}, "audio", True),
    ({"messages": user({"type": "image_url"})}, "vision", True),
    ({"messages": [{"role": "user", "content": 'I say "image_url"'}]}, "vision", False),
    ({"messages": user({"type": "file", "file": {"file_id": "f"}})}, "stateful", "file_id"),
    ({"messages": 7}, "vision", False),
]
COMPLETIONS: list[Case] = [
    ({"prompt": "x" * 400}, "prompt_tokens_at_least", 100),
    ({"prompt": ["x" * 400, "y"]}, "prompt_tokens_at_least", 100),
    ({"prompt": [100_000] * 50}, "prompt_tokens_at_least", 50),
    ({"prompt": [[1] * 50, [2]]}, "prompt_tokens_at_least", 50),
    ({"prompt": None}, "prompt_tokens_at_least", 0),
    ({"prompt": []}, "prompt_tokens_at_least", 0),
    ({"max_tokens": 7}, "output_tokens", 7),
    ({"logprobs": 0}, "logprobs", True),
    ({"structured_outputs": {"regex": "a"}}, "structured", True),
]
EMBEDDINGS: list[Case] = [
    ({"input": ["x" * 400] * 9}, "prompt_tokens_at_least", 100),
    ({"input": 7}, "prompt_tokens_at_least", 0),
]
FREE = {"store": False}
RESPONSES: list[Case] = [
    ({"input": "hi"}, "stateful", "store"),
    ({"input": "hi", "store": True}, "stateful", "store"),
    ({"input": "hi", "store": None}, "stateful", "store"),
    ({"input": "hi", **FREE}, "stateful", None),
    ({"previous_response_id": "r", **FREE}, "stateful", "previous_response_id"),
    ({"conversation": {"id": "c"}, **FREE}, "stateful", "conversation"),
    ({"background": True, **FREE}, "stateful", "background"),
    ({"background": False, **FREE}, "stateful", None),
    ({"prompt": {"id": "p"}, **FREE}, "stateful", "prompt"),
    ({"input": user({"type": "input_file", "file_id": "f"}), **FREE}, "stateful", "file_id"),
    ({"input": [{"type": "item_reference", "id": "i"}], **FREE}, "stateful", "file_id"),
    ({"input": user({"type": "input_image", "image_url": "data:x"}), **FREE}, "vision", True),
    ({"input": user({"type": "input_text", "text": "x" * 40}), **FREE}, "vision", False),
    ({"text": {"format": {"type": "json_schema"}}}, "structured", True),
    ({"text": {"format": {"type": "text"}}}, "structured", False),
    ({"tools": [{"type": "function", "name": "f"}]}, "hosted_tools", False),
    ({"tools": [{"type": "function", "name": "f"}]}, "tools", True),
    ({"tools": [{"type": "function"}, {"type": "web_search"}]}, "hosted_tools", True),
    ({"tools": 7}, "hosted_tools", False),
    ({"max_output_tokens": 7}, "output_tokens", 7),
    ({"include": ["message.output_text.logprobs"]}, "logprobs", True),
    ({"include": ["reasoning.encrypted_content"]}, "logprobs", False),
]


@pytest.mark.parametrize(
    ("endpoint", "fields", "name", "expected"),
    [
        (endpoint, *case)
        for endpoint, cases in {
            "chat.completions": CHAT,
            "completions": COMPLETIONS,
            "embeddings": EMBEDDINGS,
            "responses": RESPONSES,
        }.items()
        for case in cases
    ],
)
def test_needs_are_read_from_the_top_level(endpoint: str, fields: dict[str, Any], name: str, expected: object):
    needs = needs_of(body(**fields), endpoint)
    assert (needs.endpoint, getattr(needs, name)) == (endpoint, expected)


def test_an_endpoint_that_is_not_ours_needs_nothing_that_we_know():
    assert needs_of(body(tools=[{"type": "function"}]), "passthrough") == Needs(endpoint="passthrough")


def test_an_image_in_the_text_does_not_count_as_prompt():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    asked = body(messages=user(image, {"type": "text", "text": "x" * 400}))
    assert needs_of(asked, "chat.completions").prompt_tokens_at_least == 100


def test_a_conversation_is_named_by_its_system_and_first_user_text():
    system, first = {"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}
    later = [{"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    assert first_message(body(messages=[system, first])) == "s\0u"
    assert first_message(body(messages=[system, first, *later])) == "s\0u"
    assert first_message(body(messages=[system])) is None
    assert first_message(body(messages=7)) is None


@pytest.mark.parametrize(
    "odd", [7, None, "u", ["u"], {}, {"role": None, "content": "n"}, {"role": 7}, {"content": "n"}, {"role": "user"}]
)
def test_odd_messages_name_no_conversation_and_hide_none(odd: object):
    assert first_message(body(messages=[odd, {"role": "user", "content": "u"}])) == "u"
    assert first_message(body(messages=[{"role": "system", "content": "s"}, odd])) is None


def test_half_a_character_names_a_conversation_as_it_stands():
    raw = b'{"messages":[{"role":"system","content":"s"},{"role":"user","content":"\\ud83d"}]}'
    assert first_message(read_body(raw)) == "s\0\ud83d"


def test_a_conversation_of_responses_is_named_the_same_way():
    said = user({"type": "input_text", "text": "u"})
    assert first_message(body(input="u", instructions="s")) == "s\0u"
    assert first_message(body(input=said, instructions="s")) == "s\0u"
    assert first_message(body(input=[{"type": "function_call_output", "output": "o"}])) is None
