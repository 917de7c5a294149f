"""Slices that are found in the text: of which kind an input is, whoever sent it.

Owns   the table of analyses, their bounds. Must not know answers or scores: a slice is a property of the input alone.
To add one: a line in `ANALYSES`, its name in `settings.SliceSettings`.
"""

from collections.abc import Callable, Mapping, Sequence

from scoring.checks.language import language_of
from tutelage.contracts.pairs import Pair
from tutelage.contracts.records import Json

LENGTHS = ((500, "short"), (4_000, "medium"))
"""An input of fewer characters than this is called so; a longer one is `long`."""
TELLS = 20
"""In fewer characters than this there is too little to tell a language."""


def slices_of(pair: Pair, analyses: Sequence[str]) -> dict[str, str]:
    """The slices of a pair: those known at admission, and what `analyses` find in its request."""
    found = {name: ANALYSES[name](pair.request) for name in analyses}
    return {name: value for name, value in found.items() if value is not None} | pair.slices


def text_of(request: Json) -> str:
    """What a request says: the texts of its messages, or its prompt or input. Other parts, images among them, are not read."""
    return "\n".join(text for message in _messages(request) for text in _texts(message))


def _messages(request: Json) -> list[Json]:
    given = None
    if isinstance(request, dict):
        given = request.get("messages", request.get("input", request.get("prompt")))
    return given if isinstance(given, list) else [given]


def _texts(message: Json) -> list[str]:
    content = message.get("content") if isinstance(message, dict) else message
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]


def _length(request: Json) -> str | None:
    text = text_of(request)
    return next((name for below, name in LENGTHS if len(text) < below), "long") if text else None


def _language(request: Json) -> str | None:
    """Of the last message: system prompts and history speak for themselves."""
    text = " ".join(_texts(_messages(request)[-1])) if _messages(request) else ""
    return language_of(text) if len(text) >= TELLS else None


ANALYSES: Mapping[str, Callable[[Json], str | None]] = {"length": _length, "language": _language}
