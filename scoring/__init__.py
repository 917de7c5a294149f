"""Judgement: rubrics, statistics, evidence, gates.

Owns   what is true about a student: how answers are scored, how scores become evidence, what evidence allows.
Map    `stats/`    the mathematics, on numpy and scipy alone
       `evidence`  one cell's mergeable state
       `gates/`    one rule per file, and `controller` which folds units into state and decides what follows
       `simulate/` whole rollouts, seeded, through the same gates
       `rubrics/` `checks/` `judges/`   how one pair is scored; `routes` says by what, `worker` does it
       `anchors`                        labelled pairs that watch the judge
       `evaluation` `plumbing`          the first experiment, and a model against itself
       `economics` `metrics`            what a student saves; what the worker shows
Knows not  the data plane: this package and `gateway` never import each other.
"""
