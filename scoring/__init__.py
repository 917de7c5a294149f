"""Judgement: rubrics, statistics, evidence, gates.

Owns   what is true about a student: how answers are scored, how scores become evidence, what evidence allows.
Map    `stats/`    the mathematics, on numpy and scipy alone
       `evidence`  one cell's mergeable state
       `gates/`    one rule per file, and `controller` which folds units into state and decides what follows
       `simulate/` whole rollouts, seeded, through the same gates
Knows not  the data plane: this package and `gateway` never import each other.
"""
