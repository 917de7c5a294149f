"""Whole rollouts in virtual time, through the gate and the rollout table that production uses.

Map    `plan`     what is simulated: law, ladder, margins, a change on the way
       `walk`     one rollout, unit by unit: fold, decide, step
       `lanes`    the statistics of a thousand rollouts at once, and when one of them is worth a look
       `runs`     a thousand rollouts: `decide` and `step` for every look that could matter
       `report`   rates, means and delays of one plan; `rows` says when a goal is reached
       `captured` a route's pairs as the material       `planner`  pairs, days and dollars before the first pair
       `validate` every published figure; they are in `figures/`, the rules of others in `rules`
Seeds are arguments: the same seed gives the same rollouts.
"""
