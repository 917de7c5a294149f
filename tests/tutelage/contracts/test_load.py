"""Reading the file: what is plain YAML, and what a mistake is told."""

from pathlib import Path

import pytest

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import load, plain_yaml, validated

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


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("gateway: {bind: 8080}", "gateway.bind: 8080 is not an address: write HOST:PORT"),
        ("gateway: {bind: nowhere}", "gateway.bind: 'nowhere' is not an address"),
        ("admin: {bind: '127.0.0.1:99999'}", "admin.bind: '127.0.0.1:99999' is not an address"),
        ("gateway: {processes: 0}", "gateway.processes: 0 does not fit: Input should be 'auto'"),
        ("gateway: {processes: many}", "gateway.processes: 'many' does not fit: Input should be 'auto'"),
        ("data_dir: 5", "data_dir: 5 does not fit"),
        ("limits: {memory_mb: .inf}", "limits.memory_mb: inf does not fit"),
        ("gateway:\n\tprocesses: 1", "indent with spaces, not tabs"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_place_and_the_fix(tmp_path: Path, written: str, said: str):
    (path := tmp_path / "t.yaml").write_text(UPSTREAMS + "routes:\n  r: {teacher: a}\n" + written + "\n")
    with pytest.raises(ConfigurationError) as refused:
        load(path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("upstream", "said"),
    [
        ("model: ''", "upstreams.a.model: '' does not fit"),
        ("model: m, deadlines: {first_token: 0s}", "upstreams.a.deadlines.first_token: '0s' does not fit"),
        ("model: m, base_url: 'http://a/v1?key=1'", "no user, query or fragment may stand in it; keys go into api_key"),
        ("model: m, base_url: 'http://me:secret@a/v1'", "no user, query or fragment may stand in it"),
    ],
)
def test_an_upstream_that_could_never_answer_is_refused(tmp_path: Path, upstream: str, said: str):
    place = "" if "base_url" in upstream else ", base_url: http://a/v1"
    (path := tmp_path / "t.yaml").write_text(f"""
upstreams:
  a: {{kind: openai, {upstream}{place}}}
routes:
  r: {{teacher: a}}
""")
    with pytest.raises(ConfigurationError) as refused:
        load(path)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("r: {teacher: a, match: [x]}, q: {teacher: a, match: [y, x]}", "routes.q.match: 'x' is taken by routes.r"),
        ("r: {teacher: a, match: ['g*']}, q: {teacher: a, match: ['g*']}", "routes.q.match: 'g*' is taken by routes.r"),
        ("r: {teacher: a, match: [q]}, q: {teacher: a}", "routes.r.match: 'q' is taken by routes.q"),
        ("r: {teacher: a, match: ['']}", "routes.r.match.0: '' does not fit"),
        ("default: {teacher: a}", "routes.default: this is what metrics call default_upstream's models"),
        (
            "r: {teacher: a, slices: {routing: [x-tutelage-slice]}}",
            "routes.r.slices.routing.0: 'x-tutelage-slice' does",
        ),
    ],
)
def test_a_route_with_a_part_that_would_never_be_reached_is_refused(tmp_path: Path, routes: str, said: str):
    (path := tmp_path / "t.yaml").write_text(UPSTREAMS + f"routes: {{{routes}}}\n")
    with pytest.raises(ConfigurationError) as refused:
        load(path)
    assert said in str(refused.value)


@pytest.mark.parametrize("route", ["share: 10", "rollout: {stages: [0, 10, 90]}", "shadow: {student: 50}, share: 10%"])
def test_a_share_without_its_percent_sign_is_refused_not_taken_for_a_tenth_of_a_percent(tmp_path: Path, route: str):
    (path := tmp_path / "t.yaml").write_text(UPSTREAMS + f"routes:\n  r: {{teacher: a, student: a, {route}}}\n")
    with pytest.raises(ConfigurationError, match=r"(10|50) is not a share: write it in percent"):
        load(path)


def test_what_was_published_is_read_again_in_basis_points(tmp_path: Path):
    (path := tmp_path / "t.yaml").write_text(UPSTREAMS + "routes:\n  r: {teacher: a, student: a, share: 2.5%}\n")
    published = load(path).public()
    assert validated(published, "the snapshot").routes["r"].share == published["routes"]["r"]["share"] == 250


def test_an_empty_file_holds_nothing(tmp_path: Path):
    (path := tmp_path / "t.yaml").write_text("")
    with pytest.raises(ConfigurationError, match="holds nothing"):
        load(path)
