from scoring.evidence import POOLED, QUALITY
from scoring.gates.caps import BLOCK, Block
from scoring.gates.controller import fold_all, initial
from scoring.gates.streams import EITHER
from tests.scoring.gates.made import epoch, rollout, unit


def test_one_key_counts_so_often_in_a_block_and_again_in_the_next():
    block, kept = Block().counted([unit(n, key="busy") for n in range(50)], 3)
    assert [one.id for one in kept] == [f"unit-{n:05}" for n in range(3)]
    block, kept = block.counted([unit(n) for n in range(BLOCK - 3)], 3)
    assert len(kept) == BLOCK - 3
    _, kept = block.counted([unit(1, key="busy"), unit(2, key="busy")], 3)
    assert len(kept) == 2


def test_a_busy_script_is_no_evidence_but_detectors_see_it():
    rules = epoch(max_units_per_key=5)
    script = [unit(n, -1.0, key="script") for n in range(100)]
    state = fold_all(initial(rollout(), rules), script, rollout(), rules)
    assert state.overall.evidence.units == state.fresh.evidence.units == 5
    rows = state.streams[EITHER, POOLED, QUALITY]
    assert rows.max() > 1e6
