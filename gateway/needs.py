"""What a request needs of its arm, and what names its conversation: read from the top level of its body. Pure, never raises.

Owns the fields of each endpoint's dialect. Content parts are decoded only where the bytes hint at media, tools only where there
are any. Must not know who can do what: that is `router.policy`. To add an endpoint: a reader, and its line in `READERS`.

State lives on one arm. A request that refers to it names no owner that we could look up (names are the provider's, processes
share no memory, what a client pinned to the student is its own business), so the rule is static: whatever refers to state or
makes some is the teacher's, on the route that its `model` names; what names no model (`GET /v1/responses/ID`, files, batches) is
`default_upstream`'s. Who pins an arm to make state there pins it again to use it.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.wire import Body, Fields, given, value_of
from router.types import Needs

CHAT = "chat.completions"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"
RESPONSES = "responses"

_STRUCTURED = (
    "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_decoding",
)  # fmt: skip
_STATEFUL = ("previous_response_id", "conversation", "background")
_MEDIA = {
    "image_url": "vision", "input_image": "vision", "input_audio": "audio", "file": "file", "input_file": "file",
    "item_reference": "file",
}  # fmt: skip
_NO_MEDIA: frozenset[str] = frozenset()
_CHAT_HINTS = (b'"image_url"', b'"input_audio"', b'"file"', b'"file_id"')
_HINTS = (b'"input_image"', b'"input_audio"', b'"input_file"', b'"item_reference"')
_CHAT_ASKS = frozenset({
    "tools", "functions", "response_format", "modalities", "logprobs", "web_search_options", *_STRUCTURED, *_STATEFUL,
})  # fmt: skip
"""Without any of these fields a chat asks for nothing but text."""
_OWN_TOOLS = frozenset({"function", "custom"})
"""Tools that the client runs. All others the provider runs: the student's server has none of them."""


class _Tool(msgspec.Struct):
    type: str = "function"


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


_tools = msgspec.json.Decoder(list[_Tool])
_conversation = msgspec.json.Decoder(list[_Message])


def needs_of(body: Body, endpoint: str) -> Needs:
    """What this request asks of its arm."""
    reader = READERS.get(endpoint)
    return Needs(endpoint=endpoint) if reader is None else reader(body.fields, endpoint)


class Names(msgspec.Struct, eq=False):
    """What may name the user of a request: see `router.stickiness.Candidates`."""

    tenant: str
    _named: Mapping[bytes, bytes]
    _body: Body

    def header(self, name: str) -> str | None:
        value = self._named.get(name.encode("latin-1", "replace"))
        return None if value is None else value.decode("latin-1")

    def field(self, name: str) -> object:
        raw = self._body.fields.get(name)
        return None if raw is None else value_of(raw)

    def first_message(self) -> str | None:
        return first_message(self._body)

    def body_digest(self) -> bytes:
        return blake2b(self._body.raw, digest_size=16).digest()


def first_message(body: Body) -> str | None:
    """System text and first user text, joined: what names a conversation when nothing else does; None without user text."""
    fields = body.fields
    messages = fields.get("messages") or fields.get("input")
    if messages is None:
        return None
    system: list[str] = []
    if "instructions" in fields and isinstance(instructions := value_of(fields["instructions"]), str):
        system.append(instructions)
    for role, text in _first_texts(messages):
        if role in ("system", "developer"):
            system.append(text)
        elif role == "user" and text:
            return "\0".join((*system, text))
    return None


# --- by endpoint ------------------------------------------------------------------------------------------------------


def _chat(fields: Fields, endpoint: str) -> Needs:
    messages = fields.get("messages")
    raw = b"" if messages is None else bytes(messages)
    in_parts = raw.find(b"[", 1) > 0  # parts stand in a list of their own
    media = _media(messages) if messages is not None and in_parts and _names_media(raw) else _NO_MEDIA
    prompt_tokens = (_text_bytes(messages, raw) if in_parts or raw.find(b"\\") >= 0 else len(raw)) // 4
    output_tokens = _output_tokens(fields, "max_completion_tokens", "max_tokens")
    if not media and _CHAT_ASKS.isdisjoint(fields):
        return Needs(endpoint, prompt_tokens, output_tokens)
    return Needs(
        endpoint=endpoint,
        prompt_tokens_at_least=prompt_tokens,
        output_tokens=output_tokens,
        tools=given(fields, "tools") or given(fields, "functions"),
        structured=_structured(fields, "response_format"),
        vision="vision" in media,
        audio="audio" in media or b'"audio"' in bytes(fields.get("modalities", b"")),
        logprobs=given(fields, "logprobs"),
        hosted_tools=given(fields, "web_search_options"),
        stateful=next((name for name in _STATEFUL if given(fields, name)), "file_id" if "file" in media else None),
    )


def _completions(fields: Fields, endpoint: str) -> Needs:
    return Needs(
        endpoint=endpoint,
        prompt_tokens_at_least=_prompt_bytes(fields.get("prompt")) // 4,
        output_tokens=_output_tokens(fields, "max_tokens"),
        structured=_structured(fields, "response_format"),
        logprobs=given(fields, "logprobs"),
    )


def _embeddings(fields: Fields, endpoint: str) -> Needs:
    return Needs(endpoint=endpoint, prompt_tokens_at_least=_prompt_bytes(fields.get("input")) // 4)


def _responses(fields: Fields, endpoint: str) -> Needs:
    """Stateful unless it says `store: false`: by default the provider keeps the answer for later requests to refer to."""
    asked = fields.get("input")
    raw = b"" if asked is None else bytes(asked)
    media = _media(asked) if asked is not None and any(hint in raw for hint in _HINTS) else _NO_MEDIA
    stored = bytes(fields.get("store", b"")) != b"false"
    return Needs(
        endpoint=endpoint,
        prompt_tokens_at_least=_text_bytes(asked, raw) // 4,
        output_tokens=_output_tokens(fields, "max_output_tokens"),
        tools=given(fields, "tools"),
        structured=_structured(fields, "text"),
        vision="vision" in media,
        audio="audio" in media,
        logprobs=given(fields, "top_logprobs") or b'logprobs"' in bytes(fields.get("include", b"")),
        hosted_tools=_hosted(fields.get("tools")),
        stateful=next(
            (name for name in (*_STATEFUL, "prompt") if given(fields, name)),
            "file_id" if "file" in media else "store" if stored else None,
        ),
    )


READERS: Mapping[str, Callable[[Fields, str], Needs]] = {
    CHAT: _chat,
    COMPLETIONS: _completions,
    EMBEDDINGS: _embeddings,
    RESPONSES: _responses,
}


def _names_media(messages: bytes) -> bool:
    """A part of a medium says its type; a conversation of texts without parts is looked through once."""
    return messages.find(b'"type"') >= 0 and any(hint in messages for hint in _CHAT_HINTS)


# --- what they share --------------------------------------------------------------------------------------------------


def _structured(fields: Fields, name: str) -> bool:
    if any(given(fields, guided) for guided in _STRUCTURED):
        return True
    raw = fields.get(name)
    return raw is not None and b'"json_' in bytes(raw)


def _hosted(tools: msgspec.Raw | None) -> bool:
    """What cannot be read is for the upstream to refuse."""
    if tools is None:
        return False
    try:
        return any(tool.type not in _OWN_TOOLS for tool in _tools.decode(tools))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _output_tokens(fields: Fields, *names: str) -> int:
    for name in names:
        if raw := fields.get(name):
            value = value_of(raw)
            return value if isinstance(value, int) and 0 < value < 2**53 else 0
    return 0


def _text_bytes(messages: msgspec.Raw | None, raw: bytes) -> int:
    """Bytes of text in the messages; their JSON where that is near enough: no media, no escapes of six bytes a character."""
    if messages is None or not (_escapes(raw) or _holds_data(raw)):
        return len(raw)
    return sum(len(text.encode("utf-8", "replace")) for _, text in _texts(messages))


def _escapes(raw: bytes) -> bool:
    return raw.find(b"\\") >= 0 and b"\\u" in raw  # `in` costs an exception: it tries the bytes as a number first


def _holds_data(messages: bytes) -> bool:
    if messages.find(b"[", 1) < 0 or messages.find(b'"data') < 0:
        return False
    return b'":"data:' in messages or b'": "data:' in messages or b'"data"' in messages


def _prompt_bytes(prompt: msgspec.Raw | None) -> int:
    """Of the longest prompt: each of a batch has the context to itself. A token's number counts as four bytes of text."""
    if prompt is None:
        return 0
    value = value_of(prompt)
    prompts = value if isinstance(value, list) and not _numbers(value) else [value]
    return max(map(_bytes_of, prompts), default=0)


def _numbers(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], int)


def _bytes_of(prompt: Any) -> int:
    if isinstance(prompt, str):
        return len(prompt.encode("utf-8", "replace"))
    return 4 * len(prompt) if isinstance(prompt, list) else 0


def _media(messages: msgspec.Raw) -> frozenset[str]:
    found = {_MEDIA[kind] for part in _parts(messages) if isinstance(kind := part.get("type"), str) and kind in _MEDIA}
    return frozenset(found)


def _messages(messages: msgspec.Raw) -> Iterable[dict[str, Any]]:
    """A plain text, as responses allow, is one message of its user."""
    value = value_of(messages)
    if isinstance(value, str):
        return ({"role": "user", "content": value},)
    return (message for message in value if isinstance(message, dict)) if isinstance(value, list) else ()


def _parts(messages: msgspec.Raw) -> Iterable[dict[str, Any]]:
    """Messages themselves too: among the items of responses a reference stands by itself."""
    for message in _messages(messages):
        yield message
        content = message.get("content")
        yield from (part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()


def _texts(messages: msgspec.Raw) -> Iterable[tuple[str, str]]:
    """Role and text of each message, its text parts joined."""
    return (_said(message.get("role"), message.get("content")) for message in _messages(messages))


def _first_texts(messages: msgspec.Raw) -> Iterable[tuple[str, str]]:
    """As `_texts`, for who will not ask for them all: the rest of a long conversation is not made into values."""
    try:
        said = _conversation.decode(messages)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _texts(messages)
    return (_said(each.role, value_of(each.content)) for each in said)


def _said(role: object, content: object) -> tuple[str, str]:
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        content = "\n".join(text for text in texts if isinstance(text, str))
    return role if isinstance(role, str) else "", content if isinstance(content, str) else ""
