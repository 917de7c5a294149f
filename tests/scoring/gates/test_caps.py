from router.types import Direction
from scoring.evidence import POOLED, QUALITY
from scoring.gates.caps import BLOCK, Block
from scoring.gates.codec import decode, encode
from scoring.gates.controller import decide, fold_all, fold_servings, initial
from scoring.gates.facts import ALL_WELL
from scoring.gates.streams import EITHER
from tests.scoring.gates.made import epoch, rollout, unit


def test_one_key_counts_so_often_in_a_block_and_again_in_the_next():
    block, kept = Block().counted([unit(n, key="busy") for n in range(50)], 3)
    assert [one.id for one in kept] == [f"unit-{n:05}" for n in range(3)]
    block, kept = block.counted([unit(n) for n in range(BLOCK - 50)], 3)
    assert len(kept) == BLOCK - 50
    _, kept = block.counted([unit(1, key="busy"), unit(2, key="busy")], 3)
    assert len(kept) == 2


def test_few_users_go_on_counting_and_what_waits_for_more_of_them_says_so():
    """A small installation, five users: a fourth of what comes counts, for ever."""
    rules, now = epoch(max_units_per_key=10), rollout()
    units = [unit(n, 0.2, key=f"user-{n % 5}") for n in range(5 * BLOCK)]
    state = fold_all(initial(now, rules), units, now, rules)
    assert state.overall.evidence.units == 5 * 50
    assert decode(encode(state)).blocks == state.blocks
    ruling = decide(state, now, rules, ALL_WELL, 9e9)
    assert ruling.event is None
    assert "of 5 different users where 30 are needed" in ruling.reason


def test_few_users_go_on_being_compared_between_arms():
    rules, now = epoch(max_units_per_key=10, guardrails={"outcome": 0.1}), rollout()
    served = [
        unit(n, None, key=f"user-{n % 6}", direction=Direction.FORWARD if n % 2 else Direction.REVERSE,
             metrics={"served": float(n % 2)})
        for n in range(20 * BLOCK)
    ]  # fmt: skip
    state, early = (fold_servings(initial(now, rules), some, now, rules) for some in (served, served[:BLOCK]))
    rows, before = (one.streams["reverse", POOLED, "outcome"].max() for one in (state, early))
    assert rows > 1_000 * before > 0


def test_a_busy_script_is_no_evidence_but_detectors_see_it():
    rules = epoch(max_units_per_key=5)
    script = [unit(n, -1.0, key="script") for n in range(100)]
    state = fold_all(initial(rollout(), rules), script, rollout(), rules)
    assert state.overall.evidence.units == state.fresh.evidence.units == 5
    rows = state.streams[EITHER, POOLED, QUALITY]
    assert rows.max() > 1e6
