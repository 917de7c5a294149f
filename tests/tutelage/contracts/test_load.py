"""Reading the file: what is plain YAML, and what a mistake is told."""

from pathlib import Path

import pytest

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import load, plain_yaml

UPSTREAMS = "upstreams:\n  a: {kind: openai, base_url: http://a/v1, model: m}\n"


def test_off_is_a_setting_s_value_as_documented(tmp_path: Path):
    (path := tmp_path / "t.yaml").write_text(
        UPSTREAMS + "routes:\n  r: {teacher: a, blind: true, capture: {content: off}}\n"
    )
    route = load(path).routes["r"]
    assert (route.capture.content, route.blind) == ("off", True)


def test_only_true_and_false_are_truths():
    text = "[off, on, yes, no, Off, true, True, false, FALSE]"
    assert plain_yaml(text, "t") == ["off", "on", "yes", "no", "Off", True, True, False, False]


def test_every_mistake_is_named_at_once_with_the_nearest_setting(tmp_path: Path):
    (path := tmp_path / "t.yaml").write_text(
        UPSTREAMS + "data_dirr: x\nroutes:\n  r: {teacher: a, capture: {contnet: full}}\n"
    )
    with pytest.raises(ConfigurationError) as refused:
        load(path)
    assert "data_dirr: there is no such setting; did you mean 'data_dir'?" in str(refused.value)
    assert "routes.r.capture.contnet: there is no such setting; did you mean 'content'?" in str(refused.value)


def test_an_archive_in_object_storage_is_refused_by_name(tmp_path: Path):
    (path := tmp_path / "t.yaml").write_text(UPSTREAMS + "archive: {url: s3://bucket}\nroutes:\n  r: {teacher: a}\n")
    with pytest.raises(ConfigurationError, match=r"archive.url 's3://bucket': object storage is not yet supported"):
        load(path)
