"""What the obedient model says to a request, whatever endpoint it came by."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PIECE_CHARACTERS = 7
VERBOSE = 100
"""How many times it says the same when it is asked to be verbose: for seconds, where it streams."""
Document = dict[str, Any]


class Refused(Exception):
    """The request asked to be refused: "Refuse with 429"."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`told` is the last that was said, `answered` that it is a tool's. `choice` is auto, none, required or a tool's name."""

    told: str
    answered: bool
    tools: tuple[Document, ...] = ()
    choice: str = "auto"
    one_call: bool = False
    schema: Mapping[str, Any] | None = None
    as_json: bool = False
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    name: str
    arguments: str


def reply(asked: Asked) -> str | tuple[Call, ...]:
    """Words, or calls of tools."""
    if refusal := re.match(r"Refuse with (\d{3})", asked.told):
        raise Refused(int(refusal[1]))
    return _calls(asked) or _said(asked)


def _calls(asked: Asked) -> tuple[Call, ...]:
    """The tool that is asked for by choice or by name, else the first; none once one has answered. Once for each of a list."""
    if not asked.tools or asked.choice == "none" or (asked.answered and asked.choice == "auto"):
        return ()
    if asked.choice in ("auto", "required"):
        tool = next((tool for tool in asked.tools if tool["name"] in asked.told), asked.tools[0])
    else:
        tool = next(tool for tool in asked.tools if tool["name"] == asked.choice)
    listed = re.split(r",\s+(?:and\s+)?", asked.told)
    told = [asked.told] if asked.one_call or len(listed) < 3 else listed
    schema = tool.get("parameters") or {}
    return tuple(Call(name=tool["name"], arguments=json.dumps(filled(schema, part))) for part in told)


def _said(asked: Asked) -> str:
    told = asked.told
    if asked.schema is not None:
        return json.dumps(filled(asked.schema, told))
    if asked.as_json:
        return json.dumps(dict.fromkeys(re.findall(r"[`'\"](\w+)[`'\"]", told), told[:40]) or {"said": told[:40]})
    said = f"You said: {told}" if told else "You said nothing."
    if "verbose" in told:
        said *= VERBOSE
    ends = [said.find(stop) for stop in asked.stops]
    return said[: min((end for end in ends if end >= 0), default=len(said))]


def filled(schema: Mapping[str, Any], told: str, defs: Mapping[str, Any] | None = None) -> Any:
    """A value that fits a JSON schema, of what was told where that fits."""
    defs = {**(defs or {}), **schema.get("$defs", {}), **schema.get("definitions", {})}
    if "$ref" in schema:
        return filled(defs[schema["$ref"].rpartition("/")[2]], told, defs)
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return filled(next((part for part in schema[name] if part.get("type") != "null"), {}), told, defs)
    if "const" in schema or "enum" in schema:
        return schema.get("const", next(iter(schema.get("enum", ())), None))
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: filled(part, told, defs) for name, part in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [filled(schema.get("items") or {}, told, defs)]
    numbers = re.findall(r"-?\d+", told)
    plain: Document = {"integer": int(numbers[0]) if numbers else 1, "number": float(numbers[0]) if numbers else 1.0}
    return {**plain, "boolean": True, "null": None}.get(kind, told[:200] or "text")


def text_of(content: Any) -> str:
    """Of a message's content: a string, or parts of which only text is read."""
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content if "text" in part)
    return content or ""


def words_in(*spoken: Any) -> int:
    """What stands for tokens here."""
    return len(json.dumps(spoken).split())


def pieces(text: str) -> Iterator[str]:
    yield from (text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS))
