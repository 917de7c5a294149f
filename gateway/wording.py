"""An upstream's error as clients may read it: in its own words, but for our key, its address, and what it says of our key. Pure.

Must not know of status codes or of how an error came about. What records keep is not changed.
"""

import re
from collections.abc import Sequence

import msgspec

REFUSED = "The model's server refused the gateway's credentials."
MIN_HIDDEN_BYTES = 8
"""A key that is shorter is a word that servers want and nobody guards, such as vLLM's `EMPTY`; an address is longer."""
_CREDENTIALS = frozenset({"invalid_api_key", "authentication_error", "unauthorized", "401", 401})
"""Codes and types of errors that are about a key: ours, which the client does not know."""
_DATA = re.compile(rb"^(data:[ \t]*)(\{[^\r\n]*\})", re.MULTILINE)

_fields: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_error: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])


class Wording:
    """One upstream's. `hidden` are its keys and addresses."""

    __slots__ = ("_hidden",)

    def __init__(self, hidden: Sequence[bytes]) -> None:
        self._hidden = tuple(word for word in hidden if len(word) >= MIN_HIDDEN_BYTES)

    def plain(self, text: bytes) -> bytes:
        """Any text without keys and addresses."""
        for word in self._hidden:
            text = text.replace(word, b"upstream")
        return text

    def body(self, body: bytes) -> bytes:
        """A JSON body that tells of an error."""
        return self.plain(_told(body))

    def events(self, events: bytes) -> bytes:
        """A piece of a stream in which an error is told."""
        return self.plain(_DATA.sub(lambda line: line[1] + _told(line[2]), events))


def _told(body: bytes) -> bytes:
    """An error about credentials in our words; everything else, and what cannot be read, as it is."""
    try:
        fields = _fields.decode(body)
        error = _error.decode(fields.get("error", body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    if not any(
        value in _CREDENTIALS for value in (error.get("code"), error.get("type")) if isinstance(value, str | int)
    ):
        return body
    said = msgspec.Raw(msgspec.json.encode(REFUSED))
    if "error" in fields:
        fields["error"] = msgspec.Raw(msgspec.json.encode({**error, "message": REFUSED}))
    if "message" in fields:
        fields["message"] = said
    return msgspec.json.encode(fields)
