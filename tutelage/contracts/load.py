"""Read the configuration file: YAML in, `Settings` out, or a ConfigurationError with the key, the value and the fix.

Plain YAML only: no tags, no duplicate keys, and `off` is a word, as in YAML 1.2. Must not resolve secrets: `secret` does
that for whoever makes a call.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.parts import with_parts
from tutelage.contracts.settings import Settings
from tutelage.contracts.values import WRITTEN

_BRANCH = re.compile(r"int|float|str|bool|\w+\[.*\]")
_BOOL = "tag:yaml.org,2002:bool"


class _StrictLoader(yaml.SafeLoader):
    """YAML without duplicate keys: the second one would silently win. `off` is a word: only `true` and `false` are truths."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's
        first: [(tag, words) for tag, words in rules if tag != _BOOL or first in "tTfF"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigurationError(f"line {line}: key {key!r} stands twice; keep one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Settings:
    """The settings in the file at `path`. Relative paths in it count from the working directory.

    Raises ConfigurationError for a file that is not there, not YAML, or does not fit; all faults in one message.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as fault:
        reason = f"cannot read {path}: {fault.strerror}; name another file with --config FILE"
        raise ConfigurationError(reason) from fault
    except UnicodeDecodeError as fault:
        raise ConfigurationError(f"{path} is not UTF-8 text (byte {fault.start}); save it as UTF-8") from fault
    document = plain_yaml(_quoted_secrets(text), str(path))
    if not isinstance(document, dict):
        held = "nothing" if document is None else type(document).__name__
        raise ConfigurationError(f"{path} holds {held}, not a mapping; see docs/CONFIGURATION.md")
    return with_parts(validated(document, str(path), WRITTEN))


def plain_yaml(text: str, source: str) -> Any:
    """The document in `text`: no tags, no key twice. Raises ConfigurationError; `source` names where it came from."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader, made stricter
    except (yaml.YAMLError, RecursionError) as fault:
        spaces = "; indent with spaces, not tabs" if "'\\t'" in str(fault) else ""
        raise ConfigurationError(f"{source} is not plain YAML: {fault}{spaces}") from fault


def _quoted_secrets(text: str) -> str:
    """`{api_key: ${NAME}}` is what people write; YAML would read the brace as a mapping's."""
    return re.sub(r"(:[ \t]+)(\$\{\w+\})", r'\1"\2"', text)


def validated(document: Mapping[str, Any], source: str, context: Mapping[str, bool] | None = None) -> Settings:
    """`document` as Settings. Raises ConfigurationError listing every fault; `source` names where it came from, `context` is
    WRITTEN where a person wrote it."""
    try:
        return Settings.model_validate(document, context=context)
    except ValidationError as faults:
        lines = dict.fromkeys(_explain(fault) for fault in faults.errors(include_url=False))
        raise ConfigurationError(f"{source}: " + "\n".join(lines)) from None


def secret(reference: str, environment: Mapping[str, str] | None = None) -> str:
    """The value behind `${NAME}`. Raises ConfigurationError when the variable is not set or empty."""
    name = reference.removeprefix("${").removesuffix("}")
    value = (os.environ if environment is None else environment).get(name, "")
    if not value:
        raise ConfigurationError(f"environment variable {name} is not set: export {name}=…")
    return value


def _explain(fault: ErrorDetails) -> str:
    where = ".".join(_written(fault)) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"{where}: there is no such setting{_nearest(fault)}"
    if fault["type"] == "missing":
        return f"{where}: this setting is required"
    message = re.sub(r"^Value error, ", "", fault["msg"])
    if fault["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {fault['input']!r} does not fit: {message}"


def _written(fault: ErrorDetails) -> Iterator[str]:
    """The keys and places that lead to a value, as they stand in the file: pydantic names the branch of a union as well."""
    section: type[BaseModel] | None = Settings
    for part in map(str, fault["loc"]):
        if section is not None or not _BRANCH.fullmatch(part):
            yield part
        section = None if section is None else _inside(section, part)


def _nearest(fault: ErrorDetails) -> str:
    """The known setting closest to an unknown one."""
    *parents, name = fault["loc"]
    section: type[BaseModel] | None = Settings
    for parent in parents:
        section = _inside(section, str(parent)) if section is not None else None
    names = sorted(section.model_fields) if section is not None else []
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else (f"; there are {', '.join(names)}" if names else "")


def _inside(section: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The section under `name`; a name that is no field is a key of the dictionary just entered."""
    field = section.model_fields.get(name)
    if field is None:
        return section
    return _section_of(field.annotation)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _section_of(argument)) is not None:
            return found
    return None
