"""Which drawn pairs count, in which order and as what: whoever labels can stop, and choose nothing."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from scoring.evidence import QUALITY
from scoring.gates.anchored import RESIDUAL
from scoring.gates.controller import decode, encode, fold_all, fold_labels, initial
from scoring.gates.labels import Awaited, Label, Labels, draws
from scoring.stats.ladder import log_threshold
from scoring.stats.ppi import offset_log_e, planned_anchor
from tests.scoring.gates.made import epoch, rollout, unit

RULES = epoch(label_bp=10_000, max_units_per_key=3)
WITHIN_S = 100.0
ALPHA = 0.05


def label(number: int, h: float | None, *, f: float = 0.0, key: str | None = None) -> Label:
    """The pair that was folded as the `number`-th, a second after the one before, of a user of its own."""
    return Label(
        number=number,
        pair=f"pair-{number}",
        key=key or f"user-{number}",
        epoch=RULES.id,
        revision=2,
        weight_milli=1000,
        f=f,
        h=h,
        due_at=number + WITHIN_S,
    )


def counted(labels: Iterable[Label], now: float, before: Labels | None = None) -> Labels:
    return (before or Labels()).after(list(labels), RULES, 0, now)


def test_the_count_ends_at_the_first_drawn_pair_that_has_no_label():
    said = [label(1, 0.5), label(2, 0.0), label(3, None), label(4, 1.0)]
    stopped = counted(said, 10.0)
    assert (stopped.n, stopped.position, stopped.late) == (2, 2, 0)
    assert stopped.awaited == Awaited(pair="pair-3", until=103.0)
    went_on = counted([label(3, -0.5), label(4, 1.0)], 20.0, stopped)
    assert went_on.counts == {(1000, 0, 500): 1, (1000, 0, 0): 1, (1000, 0, -500): 1, (1000, 0, 1000): 1}
    assert (went_on.position, went_on.awaited) == (4, None)


def test_a_drawn_pair_that_nobody_labels_in_time_is_the_worst_for_good():
    said = [label(1, 0.5), label(2, None, f=0.25), label(3, 0.5)]
    after = counted(said, 102.0)
    assert after.counts == {(1000, 0, 500): 2, (1000, 250, -1000): 1}
    assert (after.late, after.position) == (1, 3)
    assert counted([label(1, 1.0), label(2, 1.0)], 103.0, after) != after  # the store gives none of them again
    state = initial(rollout(), RULES)
    state = fold_labels(state, said, rollout(), RULES, 101.0)
    assert decode(encode(state)).labels == state.labels
    assert state.labels.awaited is not None


def test_what_was_not_drawn_is_passed_over_and_waits_for_nobody():
    rules = epoch(label_bp=1_000)
    pairs = [label(n, None) for n in range(1, 2_000)]
    drawn = [one for one in pairs if draws(rules, one.pair)]
    stopped = Labels().after(pairs, rules, 0, 5.0)
    assert (stopped.n, stopped.position) == (0, drawn[0].number - 1)
    late = Labels().after(pairs, rules, 0, 1e9)
    assert (late.n, late.late, late.position) == (len(drawn), len(drawn), 1_999)


def test_of_one_user_no_more_labels_count_than_units():
    """The same cap, over the same pairs in the same order: labels stand for what the judge's count holds."""
    keys = ["script" if n % 2 else f"user-{n}" for n in range(1, 101)]
    revisions = [1 if n < 5 else 2 for n in range(1, 101)]  # some come late, from before the evidence began
    both = list(zip(keys, revisions, strict=True))
    said = [replace(label(n, 0.0, key=key), revision=revision) for n, (key, revision) in enumerate(both, 1)]
    labels = Labels().after(said, RULES, rollout().since.evidence, 0.0)
    units = [unit(n, key=key, revision=revision) for n, (key, revision) in enumerate(both, 1)]
    state = fold_all(initial(rollout(), RULES), units, rollout(), RULES)
    assert labels.n == state.overall.evidence.units == 49
    assert labels.block == state.blocks["forward"]
    assert state.overall.evidence.cell.metric == QUALITY


Choice = Callable[[float, random.Random], bool]


@pytest.mark.parametrize(
    ("chooses", "promoted_at_most"),
    [
        (lambda h, draw: h >= 0.0, 0),  # only what flatters
        (lambda h, draw: h >= 0.0 or draw.random() < 0.9, 0),  # leaves out one bad answer in ten
        (lambda h, draw: True, 15),  # everything: 99 % limit of 5 % of 150
    ],
    ids=["only the good", "most of the bad", "all"],
)
def test_labels_that_are_chosen_promote_no_student_at_the_margin(chooses: Choice, promoted_at_most: int):
    """150 students at the margin, a judge that flatters each by as much; looked at after every fortieth pair."""
    promoted = sum(promotes(random.Random(seed), chooses) for seed in range(150))
    assert promoted <= promoted_at_most


def test_the_same_choice_would_promote_nearly_all_if_what_is_left_out_cost_nothing():
    """So the law of the count is what stops it, not the law of the scores."""
    promoted = sum(promotes(random.Random(seed), lambda h, draw: h >= 0.0, left_out=()) for seed in range(20))
    assert promoted >= 19


def promotes(draw: random.Random, chooses: Choice, left_out: tuple[None, ...] = (None,)) -> bool:
    """Whether E ever reaches 1/α over 400 drawn pairs. `left_out` is what stands for one that is not labelled."""
    anchor = planned_anchor(delta=0.05, sigma_judged=0.25, sigma_residual=RESIDUAL * 0.25)
    labels, judged, number = Labels(), dict[tuple[int, int], int](), 0
    for _ in range(10):
        batch = []
        for _ in range(40):
            h = draw.choices([-0.5, -0.25, 0.0, 0.25], [0.15, 0.15, 0.45, 0.25])[0]  # mean -.05
            f = min(1.0, h + 0.05)
            judged[1000, round(1000 * f)] = judged.get((1000, round(1000 * f)), 0) + 1
            for said in (h,) if chooses(h, draw) else left_out:
                number += 1
                batch.append(label(number, said, f=f))
        labels = counted(batch, 1e9, labels)
        if offset_log_e(judged, labels.counts, anchor, alpha=ALPHA) >= log_threshold(ALPHA):
            return True
    return False
