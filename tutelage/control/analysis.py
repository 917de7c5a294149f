"""Slices that are found in the text: of which kind an input is, whoever sent it.

Owns   the table of analyses, their bounds. Must not know answers or scores: a slice is a property of the input alone.
To add one: a line in `ANALYSES`, its name in `settings.SliceSettings`.
"""

from collections.abc import Callable, Mapping

from tutelage.contracts.records import Json, Pair

LENGTHS = ((500, "short"), (4_000, "medium"))
"""An input of fewer characters than this is called so; a longer one is `long`."""


def slices_of(pair: Pair) -> dict[str, str]:
    """The slices of a pair: those known at admission, and those found in its request."""
    text = text_of(pair.request)
    return {name: found for name, analysis in ANALYSES.items() if (found := analysis(text)) is not None} | pair.slices


def text_of(request: Json) -> str:
    """What a request says: the texts of its messages, or its prompt or input. Other parts, images among them, are not read."""
    if not isinstance(request, dict):
        return ""
    given = request.get("messages", request.get("input", request.get("prompt")))
    messages = given if isinstance(given, list) else [given]
    contents = [message.get("content") if isinstance(message, dict) else message for message in messages]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))


def _length(text: str) -> str | None:
    if not text:
        return None
    return next((name for below, name in LENGTHS if len(text) < below), "long")


ANALYSES: Mapping[str, Callable[[str], str | None]] = {"length": _length}
