"""Carve-outs: a route as written, and the routes that it becomes."""

from pathlib import Path

import pytest

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import load, validated
from tutelage.contracts.parts import family, parts_of, weight_of
from tutelage.contracts.settings import Settings

TEXT = """
upstreams:
  a: {{kind: openai, base_url: "http://a/v1", model: m}}
  b: {{kind: vllm, base_url: "http://b/v1", model: n, trained_until: 2026-01-01}}
  c: {{kind: openai, base_url: "http://c/v1", model: o}}
routes:
  triage:
    match: ["gpt-4*"]
    teacher: a
    student: b
    capture: {{content: full, purpose: tests}}
    slices: {{routing: [header:x-tutelage-slice, header:x-team]}}
    shadow: {{pairs_per_day: 500, max_usd_per_day: 20}}
    judge: {{upstream: c, max_usd_per_day: 10}}
    fixed_cost: {{training_usd: 100}}
    rubric: exact@1
    rollout: {{gates: {{carve_outs: {carve_outs}}}}}
  other: {{teacher: a}}
"""
WEIGHTS = "{slice: slice, weights: {gold: 0.5, basic: 0.3}}"


def loaded(folder: Path, carve_outs: str = WEIGHTS, more: str = "") -> Settings:
    (path := folder / "t.yaml").write_text(TEXT.format(carve_outs=carve_outs) + more)
    return load(path)


def test_each_value_becomes_a_route_and_weights_add_up_to_one(tmp_path: Path):
    routes = loaded(tmp_path).routes
    assert list(routes) == ["triage", "triage:gold", "triage:basic", "other"]
    assert parts_of(routes, "triage") == {"gold": "triage:gold", "basic": "triage:basic"}
    assert parts_of(routes, "triage:gold") == {}
    weights = [weight_of(name, routes[name]) for name in routes]
    assert weights == pytest.approx([0.2, 0.5, 0.3, 1.0])


def test_a_part_is_its_route_with_its_own_part_of_the_budgets_and_no_name_for_clients(tmp_path: Path):
    settings = loaded(tmp_path)
    whole, gold, basic = (settings.routes[name] for name in ("triage", "triage:gold", "triage:basic"))
    assert (whole.match, gold.match) == (("gpt-4*",), ())
    assert (gold.teacher, gold.student, gold.rubric, gold.stickiness) == ("a", "b", "exact@1", whole.stickiness)
    assert gold.shadow.pairs_per_day == 250
    routes = (whole, gold, basic)
    assert [route.shadow.max_usd_per_day for route in routes] == pytest.approx([4.0, 10.0, 6.0])
    assert [route.judge and route.judge.max_usd_per_day for route in routes] == pytest.approx([2.0, 5.0, 3.0])
    assert [route.fixed_cost.training_usd for route in routes] == pytest.approx([20.0, 50.0, 30.0])


def test_what_is_published_is_read_as_the_same(tmp_path: Path):
    settings = loaded(tmp_path)
    assert validated(settings.public(), "a snapshot") == settings


def test_without_carve_outs_nothing_changes(tmp_path: Path):
    routes = loaded(tmp_path, "null").routes
    assert list(routes) == ["triage", "other"]
    assert (weight_of("triage", routes["triage"]), routes["triage"].shadow.pairs_per_day) == (1.0, 500)


def test_a_part_cannot_be_written_by_itself(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"routes\.other:x: .* declare it in routes\.other\.rollout"):
        loaded(tmp_path, more='  "other:x": {teacher: a}\n')


@pytest.mark.parametrize(
    ("carve_outs", "message"),
    [
        ("on", "gates.carve_outs: 'on' does not fit"),
        ("{slice: slice, weights: {}}", "weights"),
        ("{slice: slice, weights: {a: 0.6, b: 0.4}}", "weights add up to 1: leave at least 0.01"),
        ("{slice: slice, weights: {a: 0}}", "carve_outs.weights.a: 0 does not fit"),
        ("{slice: slice, weigths: {a: 0.1}}", "carve_outs.weigths: there is no such setting; did you mean 'weights'?"),
        ("{slice: slice, weights: {a:b: 0.1}}", "weights"),
        ("{slice: language, weights: {de: 0.1}}", "names 'language'; slices.routing has slice, x-team"),
        ("{slice: slice, weights: {" + ", ".join(f"v{n}: 0.01" for n in range(16)) + "}}", "at most 15"),
    ],
)
def test_what_cannot_be_carved_is_refused_by_name(carve_outs: str, message: str, tmp_path: Path):
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, carve_outs)
    assert message in str(refused.value)


def test_a_family_is_a_route_with_its_parts_or_a_part_alone():
    names = ["b", "a:y", "a-b", "a", "a:x"]
    assert family(names, "a") == ["a", "a:x", "a:y"]
    assert family(names, "a:x") == ["a:x"]
    assert family(names, "z") == []
