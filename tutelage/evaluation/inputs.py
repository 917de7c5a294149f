"""The file of inputs: JSON Lines, one chat request each, in the shapes that teams have lying about.

| a line | is read as |
|---|---|
| `{"messages": […], …}` | a chat request; a trailing assistant message (a training record) is dropped |
| `{"body": {"messages": […]}}` | a line of a batch file: its body |
| `{"input": "…"}`, `{"prompt": "…"}` | one user message |

Owns the reading. Must not know what becomes of a request.
"""

from pathlib import Path
from typing import Any

import msgspec

from tutelage.contracts.errors import ConfigurationError

DROPPED = frozenset({"model", "stream", "stream_options", "n", "store", "metadata", "user"})
"""What belongs to the call that was and not to the input. The route's own model answers, whole, once."""

MAX_FAULTS = 5


class NotARequest(Exception):
    """There is no chat request on a line; the message says what is missing."""


def read_inputs(path: Path, limit: int) -> list[dict[str, Any]]:
    """The first `limit` requests of `path`, without model. Raises ConfigurationError naming lines and fix."""
    requests: list[dict[str, Any]] = []
    faults: list[str] = []
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if len(requests) == limit or len(faults) == MAX_FAULTS:
                    break
                if line.strip():
                    try:
                        requests.append(request_of(msgspec.json.decode(line)))
                    except (msgspec.DecodeError, NotARequest) as fault:
                        faults.append(f"line {number}: {fault}")
    except OSError as fault:
        raise ConfigurationError(f"cannot read {path}: {fault.strerror}") from fault
    if faults:
        raise ConfigurationError(f"{path}: " + "; ".join(faults))
    if not requests:
        raise ConfigurationError(f'{path} holds no inputs: one JSON object a line, such as {{"messages": […]}}')
    return requests


def request_of(record: Any) -> dict[str, Any]:
    """The chat request behind one line. Raises NotARequest where there is none."""
    if isinstance(record, dict) and isinstance(record.get("body"), dict):
        record = record["body"]
    if not isinstance(record, dict):
        raise NotARequest("a line is a JSON object")
    for name in ("input", "prompt"):
        if "messages" not in record and isinstance(record.get(name), str):
            record = {"messages": [{"role": "user", "content": record[name]}]}
    messages = record.get("messages")
    if not isinstance(messages, list):
        raise NotARequest("there are no messages: write messages, body.messages, input or prompt")
    while messages and isinstance(messages[-1], dict) and messages[-1].get("role") == "assistant":
        messages = messages[:-1]
    if not any(isinstance(message, dict) and message.get("role") == "user" for message in messages):
        raise NotARequest("no message is a user's")
    return {name: value for name, value in record.items() if name not in DROPPED} | {"messages": messages}
