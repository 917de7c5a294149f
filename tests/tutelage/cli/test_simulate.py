import numpy as np
import pytest

from tests.tutelage.store.made import judgement, pair
from tutelage.store.base import Joined


@pytest.fixture
def captured(begun):
    d = np.random.default_rng(7).choice([-0.25, 0.0, 0.25], 900, p=[0.2, 0.6, 0.2])
    begun.store.join(Joined(pairs=[pair(f"p{n}", 1.0 + n) for n in range(900)]))
    begun.store.judged([judgement(f"p{n}", d=float(value)) for n, value in enumerate(d)])
    return begun


def test_captured_pairs_tell_what_this_policy_would_have_done(captured):
    options = ("simulate", "--captured", "triage", "--undirected", "--runs", "10", "--requests", "1200")
    document = captured.run(*options, "--json").document
    told = document["in_order"]
    assert told["units"] == 900
    assert told["reached"]["1"] < told["reached"]["2"] < told["reached"]["3"] <= 900
    assert document["rungs"][2]["rate"] == 1.0
    strict = captured.run(*options, "--margin", "0.01", "--stages", "0,90", "--json").document
    assert strict["in_order"]["reached"] == {}
    assert "reaches 90 %" in captured.run(*options).out


def test_the_same_seed_tells_the_same(captured):
    options = ("simulate", "--captured", "triage", "--runs", "5", "--requests", "500", "--json")
    assert captured.run(*options).document == captured.run(*options).document


def test_a_route_without_pairs_says_so(begun):
    assert "fewer than 30" in begun.run("simulate", "--captured", "triage").err
    assert begun.run("simulate", "--captured", "nobody").code == 3


def test_one_figure_of_the_validation_can_be_asked_for(begun):
    document = begun.run("simulate", "--validate", "--only", "six slices", "--json").document
    assert {"name", "value", "goal", "mc_error", "reached"} <= set(document["rows"][0])
    assert document["reported"]
    assert "no figure" in begun.run("simulate", "--validate", "--only", "nonsense").err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mean", "7"), "--mean"),
        (("--mean", "nan"), "--mean"),
        (("--mean", "0.9"), "no student of law 'rubric5' has a mean d of +0.9"),
        (("--law", "cauchy"), "unknown law 'cauchy': use one of rubric5"),
        (("--margin", "inf"), "--margin"),
        (("--margin", "0"), "--margin"),
        (("--alpha", "0"), "--alpha"),
        (("--sigma0", "-1"), "--sigma0"),
        (("--stages", "0,10,5"), "must rise strictly"),
        (("--stages", "0,nan"), "stages '0,nan'"),
        (("--only", "slices"), "add --validate"),
        (("--captured", "triage", "--mean", "0.1"), "leave --mean and --law out"),
    ],
)
def test_what_cannot_be_simulated_is_a_usage_error_that_names_it(begun, options: tuple[str, ...], said: str):
    told = begun.run("simulate", *options)
    assert told.code == 2
    assert said in told.err


def test_the_same_hold_again_and_again_is_one_line(captured):
    told = captured.run("simulate", "--captured", "triage", "--undirected", "--runs", "1", "--requests", "100")
    lines = [line for line in told.out.splitlines() if "held:" in line]
    assert len(lines) == len({line.split("held: ")[1].split(",")[0] for line in lines})
