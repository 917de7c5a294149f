"""The published figures: one file per promise, each with its goal and its seed.

Map    `validity`     a student at the margin is promoted no more often than α, on five laws
       `efficiency`   pairs of an equal student over the information bound, and over a t-test of fixed size
       `peers`        the rules of others on the same data (`scoring.simulate.rules`)
       `rollback`     run lengths between false alarms, delays after a fall
       `gate`         whole rollouts through the default gate
       `slices`       six slices that must all pass
       `trouble`      failing judges, dependent turns, a judge that flatters with a human anchor
       `engineering`  merge, shuffle, bytes, microseconds, replay
Each has `FIGURES`, name → function of a `Scale`. To add one: a function and its line there.
"""
