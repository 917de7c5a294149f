"""What a unit does to the state: one by one or in batches, kept and read again, the same counts."""

import random
from dataclasses import replace

import pytest
from msgspec import structs

from router.types import Direction
from scoring.evidence import POOLED, QUALITY, SEVERE
from scoring.gates.codec import decode, encode
from scoring.gates.facts import ALL_WELL
from scoring.gates.futility import futility
from scoring.gates.metrics import futility_prior, promotion_prior
from scoring.gates.slices import NAMING_UNITS
from scoring.gates.state import State, fold, fold_all, initial
from scoring.gates.streams import AT_ONCE
from scoring.gates.verdict import Verdict
from scoring.gates.view import look
from tests.scoring.gates.made import epoch, rollout, unit
from tutelage.contracts.decisions import Unit

SLICED = epoch(severe=0.05, slices=("slice", "tier"), floor=0.6, disagreement=0.2, max_units_per_key=10)


def mixed(count: int, seed: int = 1) -> list[Unit]:
    """Units of both directions, of slices large and small, some without a score."""
    draw = random.Random(seed)
    made = []
    for at in range(count):
        d = draw.choice([-1.0, -0.3, 0.0, 0.0, 0.25, 0.5])
        metrics = {"severe": float(d <= -0.5) * -1.0, "floor": draw.random(), "disagreement": -draw.random()}
        lost = draw.random() < 0.05
        made.append(
            unit(
                at,
                None if lost else d,
                direction=draw.choice([Direction.FORWARD, Direction.FORWARD, Direction.REVERSE]),
                missing="judge_unscorable" if lost else None,
                metrics={} if lost else metrics,
                slices={"slice": draw.choices(["a", "b", "c{0}"], [60, 37, 3])[0], "tier": "gold"},
                weight_milli=draw.choice([1000, 250]),
            )
        )
    return made


def folded(units: list[Unit], by: int) -> State:
    state = initial(rollout(), SLICED)
    for start in range(0, len(units), by):
        state = fold_all(state, units[start : start + by], rollout(), SLICED)
    return state


@pytest.mark.parametrize("by", [1, 7, 100, 1000])
def test_batches_give_the_same_bytes_as_one_by_one(by: int):
    units = mixed(400)
    state = initial(rollout(), SLICED)
    for one in units:
        state = fold(state, one, rollout(), SLICED)
    assert encode(folded(units, by)) == encode(state)


def test_a_state_survives_its_bytes_with_the_capital_that_it_had():
    state = folded(mixed(400), 13)
    again = decode(encode(state))
    assert encode(again) == encode(state)
    for place, account in state.cells.items():
        prior = promotion_prior(SLICED, place)
        assert again.cells[place].log_e(prior) == pytest.approx(account.log_e(prior), abs=1e-9)
        assert again.cells[place].canonical(prior) == account.canonical(prior)


def test_the_order_of_arrival_changes_no_promotion_evidence():
    units = mixed(400)
    shuffled = units[NAMING_UNITS * 2 :]
    random.Random(5).shuffle(shuffled)
    first, second = folded(units, 50), folded(units[: NAMING_UNITS * 2] + shuffled, 50)
    assert {p: e.counts for p, e in first.evidence.items()} == {p: e.counts for p, e in second.evidence.items()}


def test_values_of_a_slice_are_named_once_by_their_share_and_the_small_ones_are_its_rest():
    state = folded(mixed(400), 50)
    assert state.named == {"slice": ("a", "b"), "tier": ("gold",)}
    places = {where for where, metric in state.cells if metric == QUALITY}
    assert places == {POOLED, "slice:a", "slice:b", "slice:*", "tier:gold"}
    of_slice = [e for (where, _), e in state.evidence.items() if where.startswith("slice:")]
    assert sum(e.units for e in of_slice) == state.overall.evidence.units


def test_a_unit_that_nobody_scored_is_the_worst_in_every_metric():
    state = fold(initial(rollout(), SLICED), unit(1, None, missing="judge_unscorable"), rollout(), SLICED)
    worst = {
        metric: [key[1] for key in e.promotion()] for (where, metric), e in state.evidence.items() if where == POOLED
    }
    assert worst == {"quality": [-1000], "severe": [-1000], "floor": [0], "disagreement": [-1000]}
    assert not [rows for rows in state.streams.values() if (rows > 1.0).any()]


def test_a_cell_is_at_most_one_kilobyte_on_25_levels():
    levels = [round(-1 + 2 * n / 24, 3) for n in range(25)]
    state = fold_all(initial(rollout(), epoch()), [unit(n, levels[n % 25]) for n in range(5_000)], rollout(), epoch())
    import msgspec

    assert len(msgspec.json.encode(state.overall.evidence.to_plain())) <= 1024


def test_turns_of_a_conversation_reach_the_detectors_alone():
    rules = structs.replace(epoch(guardrails={"error": 0.05}), unit="conversation")
    begun = initial(rollout(), rules)
    turns = [unit(n, None, metrics={"error": -1.0}, direction=Direction.REVERSE) for n in range(8)]
    state = fold_all(begun, (), rollout(), rules, turns)
    assert {stream for stream, rows in state.streams.items() if rows.any()} == {(AT_ONCE, POOLED, "error")}
    assert encode(replace(state, streams={})) == encode(begun)
    assert encode(fold_all(begun, (), rollout(), rules, [unit(1, None, epoch="another")])) == encode(begun)


def test_an_unscored_turn_does_not_hide_its_conversation_from_the_detectors():
    lost = unit(1, -0.95, missing="judge_unscorable", harm={"quality": -0.9, "severe": -0.9})
    hidden = unit(1, -0.95, missing="judge_unscorable")
    seen, unseen = (fold(initial(rollout(), SLICED), one, rollout(), SLICED).streams for one in (lost, hidden))
    stream = ("either", POOLED, QUALITY)
    assert seen[stream].sum() > 1.2 * unseen[stream].sum()


def test_an_unscored_turn_does_not_hide_its_conversation_from_futility():
    """Each conversation has one turn of ten that nobody could score; the nine others are as bad as can be."""
    draw, rules = random.Random(5), epoch()
    bad = [draw.choice([-0.6, -0.2]) for _ in range(100)]
    units = [
        unit(n, d - 0.1, missing="judge_unscorable", unscored=1, turns=10, harm={"quality": d})
        for n, d in enumerate(bad)
    ]
    state = fold_all(initial(rollout(), rules), units, rollout(), rules)
    assert futility(look(state, rollout(), rules, ALL_WELL, 0.0)).verdict is Verdict.FAIL
    assert state.overall.canonical_against(futility_prior(rules)) == pytest.approx(
        state.overall.log_e_against(futility_prior(rules)), abs=1e-9
    )
    assert encode(decode(encode(state))) == encode(state)
    unknown = [structs.replace(one, d=None, harm={}) for one in units]
    assert (
        fold_all(initial(rollout(), rules), unknown, rollout(), rules).overall.log_e_against(futility_prior(rules)) < 0
    )


def test_a_restart_of_the_evidence_forgets_cells_and_names_and_nothing_else_does():
    state = folded(mixed(400), 50)
    now = rollout()
    moved = replace(now, revision=9, since=replace(now.since, evidence=9))
    again = fold(state, unit(1, revision=9), moved, SLICED)
    assert again.overall.evidence.units == 1
    assert again.named == {}
    assert again.streams.keys() == state.streams.keys()
    stepped = replace(now, revision=9, since=replace(now.since, down=9))
    kept = fold(state, unit(1, revision=8), stepped, SLICED)
    assert kept.overall.evidence.units == state.overall.evidence.units + 1
    stream = (Direction.FORWARD, POOLED, SEVERE)
    assert not kept.streams[stream][1].any()
    assert kept.streams[stream][2].any()
