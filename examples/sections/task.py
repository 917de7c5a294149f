"""The demo's task: one line about a Debian package in, the name of its archive section out.

Owns what teacher, student, recorder and driver have to agree on: the eight classes, the request an application sends,
the shipped descriptions with their parts, and the hash by which an input is known. Standard library only, so that
anything may import it. It must not know who answers the requests, nor how.

To change the task, change `SECTIONS` and `SYSTEM_PROMPT` and rebuild the data with `dataset.py`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

SECTIONS: tuple[str, ...] = ("games", "sound", "fonts", "database", "mail", "science", "net", "editors")
SYSTEM_PROMPT = "Name the Debian section of the package: games, sound, fonts, database, mail, science, net or editors."
MAX_ANSWER_TOKENS = 8

HERE = Path(__file__).resolve().parent
DESCRIPTIONS = HERE / "data" / "descriptions.jsonl.gz"
LABELS = HERE / "labels.jsonl"

Part = Literal["teacher", "capture", "capture_other", "heldout"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One input of the task. `section` is the archive's own label, None where it is not shipped (see `Part`)."""

    text: str
    part: Part
    section: str | None


def read_descriptions(*parts: Part, path: Path = DESCRIPTIONS) -> Iterator[Description]:
    """Yield the shipped descriptions in file order, of all parts or of those named."""
    wanted = frozenset(parts or PARTS)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["part"] in wanted:
                yield Description(text=row["text"], part=row["part"], section=row["section"])


def chat_request(description: str, *, model: str, top_logprobs: int = 0) -> dict[str, Any]:
    """Build the body of the application's `POST /v1/chat/completions`.

    With `top_logprobs` > 0 the answer carries that many alternatives of each token (at most 20): 8 asks the teacher
    for its probability of every section, from which a student learns more than from the name alone.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": description},
        ],
        "temperature": 0,
        "max_tokens": MAX_ANSWER_TOKENS,
    }
    if top_logprobs > 0:
        body |= {"logprobs": True, "top_logprobs": top_logprobs}
    return body


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last message with role `user`; text parts of a list are joined. "" where there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content") or ""
            if isinstance(content, str):
                return content
            return "".join(part.get("text", "") for part in content if part.get("type") == "text")
    return ""


def canonical(text: str) -> str:
    """Return the form of an input that is hashed: NFC-normalised, without white space at either end."""
    return unicodedata.normalize("NFC", text).strip()


def input_sha256(text: str) -> str:
    """Return the key of an input: SHA-256, in hex, of its canonical form in UTF-8."""
    return hashlib.sha256(canonical(text).encode("utf-8")).hexdigest()
