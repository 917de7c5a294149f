"""docs/CONFIGURATION.md is the table of Settings: every setting is in it, nothing else is, and the defaults are these."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tutelage.contracts.load import _section_of, validated
from tutelage.contracts.settings import Settings
from tutelage.contracts.values import _seconds

PAGE = (Path(__file__).parents[3] / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
ROWS: dict[str, str] = dict(re.findall(r"^\| `([a-z_.*0-9]+)` \|([^|]*)\|", PAGE, re.MULTILINE))


def fields(section: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        found[prefix + name] = field
        inner = _section_of(field.annotation)
        if inner is not None:
            star = "*." if "dict" in str(field.annotation) else ""
            found |= fields(inner, f"{prefix}{name}.{star}")
    return found


SETTINGS = fields(Settings)


def test_every_setting_has_a_row_and_every_row_a_setting():
    assert set(ROWS) == set(SETTINGS)


def plain(path: str, field: FieldInfo) -> Any:
    if path.endswith("stages"):
        return "[0%, 1%, 5%, 10%, 25%, 50%, 90%]"
    default = field.get_default(call_default_factory=False)
    return json.loads(json.dumps(default))


def shown(path: str) -> str:
    return ROWS[path].strip().strip("`")


@pytest.mark.parametrize("path", sorted(SETTINGS))
def test_the_default_in_the_table_is_the_code_s(path: str):
    field = SETTINGS[path]
    if field.is_required():
        assert shown(path) == "required"
        return
    if isinstance(field.default, BaseModel):
        assert shown(path) == ""
        return
    default = plain(path, field)
    if default is None:
        assert shown(path) in {"none", "margin", "generated"}
    elif isinstance(default, str):
        assert shown(path) == default
    elif isinstance(default, bool | list | dict):
        assert json.loads(shown(path)) == default
    elif shown(path).endswith("%"):
        assert float(shown(path)[:-1]) * 100 == default
    elif shown(path)[-1] in "smhd":
        assert _seconds(shown(path)) == default
    else:
        assert float(shown(path)) == default


def test_the_example_of_the_page_loads():
    yaml_text = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert yaml_text is not None
    import yaml

    from tutelage.contracts.load import _quoted_secrets

    settings = validated(yaml.safe_load(_quoted_secrets(yaml_text[1])), "the example")
    assert settings.routes["support-triage"].rollout is not None
