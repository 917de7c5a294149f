"""What was asked: a request's body as records know it, by its hashes, its turns and the people that it names. Pure.

Must not know of answers, policies or redaction.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from tutelage.capture.loose import Malformed, read_json
from tutelage.contracts.records import Json

Asked = dict[str, Any]
"""A request's body, decoded."""

PEOPLE = frozenset({"user", "safety_identifier", "prompt_cache_key"})
"""Fields that name a person: stored as pseudonyms only."""
_SUBJECTS = ("safety_identifier", "user")
_TEXT_PARTS = ("text", "input_text")
_NOT_PARAMETERS = frozenset({"model", "user", "metadata", "stream_options", "stream", "store"})
_canonical_json = msgspec.json.Encoder(order="sorted").encode


def read_asked(body: bytes) -> Asked | None:
    """The request; None where its body is no JSON object."""
    try:
        value = read_json(body)
    except Malformed:
        return None
    return value if isinstance(value, dict) else None


def params_hash(body: bytes, asked: Asked | None) -> str:
    """SHA-256 of the request as canonical JSON, without what changes no answer: equal where both arms were asked the same.

    A body that cannot be read is hashed as it is.
    """
    if asked is None:
        return hashlib.sha256(body).hexdigest()
    parameters = {name: value for name, value in asked.items() if name not in _NOT_PARAMETERS}
    return hashlib.sha256(_canonical_json(parameters)).hexdigest()


def subject_of(asked: Asked | None) -> str | None:
    """Who asked, as the application says: its end user's name for the provider."""
    if asked is not None:
        for name in _SUBJECTS:
            if name in asked and isinstance(person := asked[name], str) and person:
                return person
    return None


def user_texts(asked: Asked | None) -> list[str] | None:
    """What users said, message by message, text parts joined; None where the endpoint has no messages.

    One prompt by itself is one message; several at once are no conversation.
    """
    if asked is None:
        return None
    messages = asked.get("messages", asked.get("input", asked.get("prompt")))
    if isinstance(messages, list):
        if len(messages) == 1 and isinstance(messages[0], str):
            return messages
        return [_joined(item) for item in messages if isinstance(item, dict) and item.get("role") == "user"]
    return [messages] if isinstance(messages, str) else None


def input_hash(texts: Sequence[str] | None) -> str | None:
    """What an input is known by: the hash of its last user message; None where there is none."""
    return input_sha256(texts[-1]) if texts else None


def input_sha256(text: str) -> str:
    """The key of an input in a file of references: SHA-256, in hex, of its canonical form in UTF-8."""
    return hashlib.sha256(canonical(text).encode("utf-8")).hexdigest()


def canonical(text: str) -> str:
    """The form of an input that is hashed: NFC-normalised, without white space at either end."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def _joined(message: dict[str, Any]) -> str:
    content: Json = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in _TEXT_PARTS]
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))
