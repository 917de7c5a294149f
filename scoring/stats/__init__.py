"""The mathematics of the quality gate, on numpy and scipy alone.

Owns   d = score(student) - score(teacher) in [-1, 1] and everything that may be concluded from a stream of such d:
       `lattice`            how d is rounded to 1/1000, and for whose benefit
       `bets`               the 16 bets and the planning prior that weighs them
       `eprocess`           evidence for "the student is not worse than the margin", from a histogram
       `shiryaev_roberts`   the detector that watches for a student that has become worse
       `ppi`                human labels beside a judge that may be biased
       `ladder`             how much evidence each rung of the rollout asks for
       `planning`           how many pairs that takes
       `binomial`           limits for rates, for one look
       `rates`              tests of rates and of a split, for any number of looks
       `sampling`           how many pairs of which slice, and what unequal rates cost
       `laws`               the score laws on which all of it is measured
       `paths`              many runs at once, a look after every pair: for measuring error rates
Knows not  anything of the project: no records, no configuration, no clock, no global randomness.
Extend a statistic by one file here and one simulation that shows its error rate.
"""
