"""The last two rungs need people where the epoch asks for them; a judge that flatters promotes nobody."""

import math
import random
from dataclasses import replace

import pytest

from router.events import Hold
from router.rollout import FUTILITY, Rollout
from router.stages import Ladder
from scoring.gates.anchored import anchored
from scoring.gates.codec import decode, encode
from scoring.gates.controller import decide, fold_all, fold_labels, initial
from scoring.gates.facts import ALL_WELL
from scoring.gates.futility import futility
from scoring.gates.labels import Label, Labels, draws
from scoring.gates.numbers import cells
from scoring.gates.state import State, caught_up
from scoring.gates.verdict import Verdict
from scoring.gates.view import look
from scoring.stats.ppi import offset_log_e, planned_anchor
from tests.scoring.gates.made import epoch, rollout, unit

RULES = epoch(label_bp=10_000)
LONG = Ladder(shares_bp=(0, 100, 500, 1000, 9000))


def at(rung: int) -> Rollout:
    return replace(rollout(), ladder=LONG, rung=rung)


def judged(mean: float, labelled: list[Label]) -> State:
    draw = random.Random(1)
    units = [unit(n, mean + draw.choice([-0.2, 0.2])) for n in range(2_000)]
    state = fold_all(initial(rollout(), RULES), units, rollout(), RULES)
    return fold_labels(state, labelled, rollout(), RULES, 0.0)


def labels(count: int, f: float, h: float) -> list[Label]:
    """Labels of pairs that the judge scored f on average, and a person h."""
    draw, made = random.Random(2), []
    for n in range(count):
        noise = draw.choice([-0.2, 0.2])
        made.append(label(n + 1, f + noise, h + noise))
    return made


def label(number: int, f: float, h: float, revision: int = 2) -> Label:
    return Label(
        number=number,
        pair=f"pair-{number}",
        key=f"user-{number}",
        epoch=RULES.id,
        revision=revision,
        weight_milli=1000,
        f=f,
        h=h,
        due_at=0.0,
    )


@pytest.mark.parametrize(("rung", "asked"), [(0, False), (1, False), (2, True), (3, True), (4, True)])
def test_the_last_two_rungs_ask_for_labels(rung: int, asked: bool):
    found = anchored(look(initial(at(rung), RULES), at(rung), RULES, ALL_WELL, 0.0))
    assert (len(found) == 1) is asked
    assert anchored(look(initial(at(rung), epoch()), at(rung), epoch(), ALL_WELL, 0.0)) == ()


@pytest.mark.parametrize(
    ("h", "count", "verdict"),
    [(0.0, 400, Verdict.PASS), (0.0, 5, Verdict.INCONCLUSIVE), (-0.05, 400, Verdict.INCONCLUSIVE)],
)
def test_judge_and_people_together_pass_where_both_say_so(h: float, count: int, verdict: Verdict):
    """The judge finds the student equal. Where people find it at the margin, no number of judgements helps."""
    state = judged(0.0, labels(count, 0.0, h))
    view = look(state, at(3), RULES, ALL_WELL, 0.0)
    [found] = anchored(view)
    assert found.verdict is verdict
    assert found.n == count
    numbers = cells(view)[-1]
    assert (numbers.cell, numbers.n, numbers.log_e) == ("labels:forward/all/quality", count, found.value)
    assert numbers.mean_d == pytest.approx(h, abs=0.2)
    assert ("people's labels" in decide(state, at(3), RULES, ALL_WELL, 9e9).reason) or verdict is Verdict.PASS


def test_the_judges_mean_is_believed_at_the_next_rungs_level():
    """It costs .2 α_k, the labels .8 α_k: a bound at a laxer level would promote wrongly more often than α_k."""
    state = judged(0.0, labels(400, 0.0, 0.0))
    anchor = planned_anchor(delta=RULES.delta, sigma_judged=RULES.sigma0, sigma_residual=RULES.sigma0 / 2)
    for rung in (2, 3):
        view = look(state, at(rung), RULES, ALL_WELL, 0.0)
        alpha = math.exp(-view.next_need)
        said = offset_log_e(state.overall.evidence.promotion(), state.labels.counts, anchor, alpha=alpha)
        assert [found.value for found in anchored(view)] == [said]


def test_a_student_whom_people_reject_cannot_pass_whatever_the_judge_says():
    state = judged(0.0, labels(400, 0.0, -0.2))
    event = decide(state, at(2), RULES, ALL_WELL, 1.0).event
    assert isinstance(event, Hold)
    assert event.hold == FUTILITY
    assert "people's labels of 400 drawn pairs" in event.reason
    assert not isinstance(decide(judged(0.0, labels(400, 0.0, 0.0)), at(2), RULES, ALL_WELL, 1.0).event, Hold)


def test_labels_that_nobody_gave_refute_nobody():
    silent = [replace(one, h=None) for one in labels(400, 0.0, 0.0)]
    state = judged(0.0, silent)
    assert (state.labels.late, state.labels.mean) == (400, -1.0)
    assert futility(look(state, at(2), RULES, ALL_WELL, 0.0)).verdict is Verdict.PASS
    mixed = Labels().after([*silent[:3], *(replace(one, h=-1.0) for one in labels(2, 0.0, 0.0))], RULES, 0, 1.0)
    assert mixed.opposed() == {(1000, 0): 3, (1000, 999): 2}


def test_labels_survive_bytes_and_a_restart_reads_none_twice():
    state = judged(0.0, labels(20, 0.0, 0.0))
    assert decode(encode(state)).labels == state.labels
    assert (state.labels.position, state.labels.n) == (20, 20)
    began = replace(rollout(), revision=9, since=replace(rollout().since, evidence=9))
    assert caught_up(state, began, RULES).labels == Labels(position=20)
    old = label(21, 0.0, 0.0, revision=3)
    assert fold_labels(state, [old], began, RULES, 0.0).labels == Labels(position=21)


def test_who_is_asked_about_follows_from_the_pair_s_name_alone():
    drawn = [name for n in range(5_000) if draws(epoch(label_bp=1_000), name := f"pair-{n}")]
    assert 400 < len(drawn) < 600
    assert not any(draws(epoch(), name) for name in drawn)
