"""The published figures in their short form: what the documentation claims, this commit still does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scoring.simulate import pictures, rules
from scoring.simulate.figures.scale import FULL, SHORT
from scoring.simulate.publish import BEGIN, END, publish, table
from scoring.simulate.rows import Figure, Reported, Row, Sense, in_words, missed, quantile_row, rate_row, ratio_row, row
from scoring.simulate.validate import names, validation

LONG = {"whole ladder with six slices", *(f"whole gate, d = {mean}" for mean in ("+0.02", "-0.01", "-0.03"))}
"""Half of the time of all figures together; the other students go through the same code."""


TIMED = "µs per update"
"""What a busy machine can spoil."""


def measured(scale, only=()):
    return [figure for part in validation(scale, only=only).values() for figure in part]


def misses(figures):
    """In words."""
    return [in_words(bad) for bad in missed(figures) if TIMED not in bad.name]


def test_the_figures_are_reached_in_their_short_form():
    chosen = [name for name in names() if name not in LONG]
    figures = measured(SHORT, only=chosen)
    assert {figure.name.split(": ")[0] for figure in figures} == set(chosen)
    assert misses(figures) == []


@pytest.mark.nightly
def test_every_figure_is_reached_in_its_long_form():
    assert misses(measured(FULL)) == []


def test_the_same_seed_gives_the_same_figures():
    name = "six slices that must all pass"
    assert validation(SHORT, only=[name]) == validation(SHORT, only=[name])


def test_a_goal_counts_as_reached_within_two_errors_of_it_and_not_beyond():
    assert row("pairs", 104.0, 100.0, error=2.0).reached
    assert not row("pairs", 104.1, 100.0, error=2.0).reached
    assert row("pairs", 96.0, 100.0, error=2.0, sense=Sense.AT_LEAST).reached
    assert not row("pairs", 95.9, 100.0, error=2.0, sense=Sense.AT_LEAST).reached


def test_a_rate_is_too_high_only_when_its_lower_limit_is():
    assert rate_row("wrong", 60, 1000, 0.05).reached
    assert not rate_row("wrong", 80, 1000, 0.05).reached


def test_a_ratio_of_paired_runs_knows_its_error():
    rng = np.random.default_rng(1)
    ratios, errors = [], []
    for _ in range(300):
        below = rng.exponential(100.0, 400)
        figure = ratio_row("ratio", 0.8 * below + rng.normal(0.0, 10.0, 400), below, 1.0)
        ratios.append(figure.value)
        errors.append(figure.mc_error)
    assert np.std(ratios) == pytest.approx(np.mean(errors), rel=0.15)


def test_a_quantile_knows_its_error():
    rng = np.random.default_rng(2)
    found = [quantile_row("p90", rng.exponential(1.0, 1000), 0.9, 3.0) for _ in range(300)]
    assert np.std([figure.value for figure in found]) == pytest.approx(np.mean([f.mc_error for f in found]), rel=0.2)


def test_words_say_the_verdict():
    assert in_words(row("x", 2.0, 1.0, error=0.0)).startswith("MISSED   x: 2 (goal: at most 1")
    assert isinstance(rate_row("x", 0, 10, 0.1), Row)


# --- the rules of others ----------------------------------------------------------------------------------------------


def test_the_peeked_t_test_says_what_the_t_test_says():
    from scipy.stats import ttest_1samp

    d = np.random.default_rng(3).normal(0.0, 0.3, (5, 200))
    for run, passed in enumerate(rules.peeked_t_test(d, margin=0.05, alpha=0.05)):
        looks = [ttest_1samp(d[run, :n], -0.05, alternative="greater").pvalue <= 0.05 for n in range(30, 201)]
        assert passed == (looks.index(True) + 30 if any(looks) else 0)


def test_the_best_arm_rule_waits_for_ten_answers_and_for_evidence():
    teacher, student = np.full((1, 40), 0.5), np.full((1, 40), 0.5)
    teacher[0, ::2] += 0.01
    student[0, ::2] += 0.01
    assert rules.best_arm(teacher, student, margin=0.05, alpha=0.05)[0] == 10
    assert rules.best_arm(teacher, student - 0.1, margin=0.05, alpha=0.05)[0] == 0


def test_an_asymptotic_sequence_tuned_to_few_pairs_is_quicker():
    d = np.random.default_rng(4).normal(0.0, 0.27, (200, 3000))
    few, many = (rules.asymptotic_sequence(d, margin=0.05, alpha=0.05, tuned_to=n) for n in (200, 5000))
    assert few[few > 0].mean() < many[many > 0].mean()


@pytest.mark.skipif(not rules.installed("ville"), reason="the peer's package is not installed")
def test_the_peers_package_reads_our_streams():
    d = np.random.default_rng(5).choice([-0.25, 0.0, 0.25], (4, 3000))
    assert (rules.ville_betting(d, margin=0.05, alpha=0.05) > 30).all()


# --- publishing -------------------------------------------------------------------------------------------------------


def test_the_table_goes_between_its_marks_and_says_what_is_missed(tmp_path):
    document = tmp_path / "STATISTICS.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    figures: list[Figure] = [row("good", 1.0, 2.0, error=0.123), row("bad", 3.0, 2.0, error=0.1)]
    figures.append(Reported(name="r", value=1e-6, mc_error=0.0))
    publish(document, table({"1 x": figures}, SHORT))
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| good | 1 ± 0.12 | at most 2 | reached |" in text
    assert "| bad | 3 ± 0.1 | at most 2 | **missed** by 1 |" in text
    assert "| r | 1.0e-06 | | |" in text
    assert "old" not in text


def test_a_document_without_marks_is_left_alone(tmp_path):
    document = tmp_path / "STATISTICS.md"
    document.write_text("nothing to see")
    with pytest.raises(ValueError, match="figures: begin"):
        publish(document, "x")


def test_every_figure_is_in_the_published_table():
    published = (Path(__file__).parents[3] / "docs" / "STATISTICS.md").read_text(encoding="utf-8")
    assert [name for name in names() if f"| {name}: " not in published] == []


def test_the_pictures_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MEANS", (0.02,))
    tiny = replace(SHORT, streams=20, rollouts=4)
    assert [path.stat().st_size > 10_000 for path in pictures.draw(tmp_path, tiny)] == [True] * 3
