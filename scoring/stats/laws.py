"""Laws of the score difference on which error rates and pair counts are measured.

Owns   five discrete laws of d, each with its mean set exactly, and the joint laws of both arms' scores behind three.
Knows not  the tests that are run on them. A law is a histogram of probabilities on the lattice of thousandths.

Teacher and student scores are joined by a Gaussian copula whose latent correlation is chosen so that the *scores* have
Pearson correlation ½ when the arms are equal; the student's latent mean is then moved until E[d] is as asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from scoring.stats.bets import FloatArray
from scoring.stats.lattice import FULL_WEIGHT, LATTICE, Key

_GUIDES = 4096
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """d takes `d_milli[i]` (thousandths, rising) with `probability[i]`."""

    name: str
    d_milli: NDArray[np.int64]
    probability: FloatArray

    @property
    def mean(self) -> float:
        """E[d]."""
        return float(self.probability @ self.d_milli) / LATTICE

    @property
    def sigma(self) -> float:
        """Standard deviation of d."""
        return float(np.sqrt(self.probability @ (self.d_milli / LATTICE - self.mean) ** 2))

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> NDArray[np.int64]:
        """Independent draws of d in thousandths."""
        return self.d_milli[_drawn(self.probability, rng, size)]

    def as_histogram(self, pairs: int = 1_000_000) -> dict[Key, int]:
        """The law as expected counts of `pairs` pairs, for the formulas of planning."""
        return {
            (FULL_WEIGHT, int(d)): round(pairs * float(p))
            for d, p in zip(self.d_milli, self.probability, strict=True)
            if round(pairs * float(p)) > 0
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """Both arms' scores on one input: P(teacher = `levels[i]`, student = `levels[j]`) = `probability[i, j]`."""

    name: str
    levels: FloatArray
    probability: FloatArray

    def difference(self) -> Law:
        """The law of d = student − teacher."""
        d_milli = np.rint(LATTICE * (self.levels[None, :] - self.levels[:, None])).astype(np.int64)
        return _law(self.name, d_milli, self.probability)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """Independent draws of (teacher's score, student's score)."""
        cell = _drawn(self.probability.ravel(), rng, size)
        return self.levels[cell // len(self.levels)], self.levels[cell % len(self.levels)]


def rubric5(mean: float = 0.0) -> Law:
    """Five-step rubric with ties: scores 0, ¼, ½, ¾, 1; teacher's probabilities .04 .06 .15 .30 .45.

    >>> law = rubric5()
    >>> abs(law.mean) < 1e-9, round(law.sigma, 3), round(float(law.probability[law.d_milli == 0][0]), 2)
    (True, 0.273, 0.47)
    >>> round(rubric5(-0.05).mean, 6)
    -0.05
    """
    return rubric5_scores(mean).difference()


def passfail(mean: float = 0.0) -> Law:
    """Pass or fail: the teacher passes 85 %, seven pairs in eight tie.

    >>> round(passfail().sigma, 3), [round(float(p), 4) for p in passfail().probability]
    (0.357, [0.0637, 0.8725, 0.0637])
    """
    return passfail_scores(mean).difference()


def weighted21(mean: float = 0.0) -> Law:
    """Weighted criteria: 21 levels, Beta(8, 2.2).

    >>> round(weighted21().sigma, 3)
    0.124
    """
    return weighted21_scores(mean).difference()


def rare_catastrophe() -> Law:
    """6 % of −1, 90 % ties, 4 % of +¼: mean −.05, and most samples look harmless.

    >>> round(rare_catastrophe().mean, 6)
    -0.05
    """
    return Law(
        name="rare", d_milli=np.array([-1000, 0, 250]), probability=np.array([0.06, 0.90, 0.04], dtype=np.float64)
    )


def clustered(mean: float = 0.0, *, turns: int = 5, icc: float = 0.33) -> Law:
    """Conversations of `turns` turns on the rubric: each turn repeats one shared draw with probability √icc, else is its own.

    Two turns then correlate by `icc`. d is the conversation's mean: the law is exact, by convolution.

    >>> law = clustered(-0.05)
    >>> round(law.mean, 6), round(law.sigma, 3), len(law.d_milli)
    (-0.05, 0.193, 41)
    """
    turn = rubric5(mean)
    repeat = np.sqrt(icc)
    step = int(np.gcd.reduce(turn.d_milli))
    place = (turn.d_milli // step) - (turn.d_milli[0] // step)
    total = np.zeros(turns * int(place[-1]) + 1)
    for shared, probability in zip(place, turn.probability, strict=True):
        one = np.zeros(int(place[-1]) + 1)
        one[place] = (1.0 - repeat) * turn.probability
        one[shared] += repeat
        together = one
        for _ in range(turns - 1):
            together = np.convolve(together, one)
        total += probability * together
    d_milli = np.floor(turn.d_milli[0] + step * np.arange(len(total)) / turns).astype(np.int64)
    return _law("clustered", d_milli, total)


def tied(mean: float, sigma: float) -> Law:
    """−a, 0, a with the given mean and standard deviation, the smallest of a = ¼, ½, 1 that leaves some ties: for planning.

    >>> law = tied(-0.02, 0.30)
    >>> round(law.mean, 9), round(law.sigma, 9), law.d_milli.tolist()
    (-0.02, 0.3, [-500, 0, 500])
    """
    second = sigma**2 + mean**2
    for step in (0.25, 0.5, 1.0):
        decided = second / step**2
        if abs(mean) / step <= decided <= 0.9:
            down, up = (decided - mean / step) / 2, (decided + mean / step) / 2
            d_milli = np.rint(LATTICE * step * np.array([-1, 0, 1])).astype(np.int64)
            return Law(name="tied", d_milli=d_milli, probability=np.array([down, 1.0 - decided, up]))
    raise ValueError(f"no law on -1, 0, 1 has mean {mean!r} and standard deviation {sigma!r}")


def rubric5_scores(mean: float = 0.0) -> Joint:
    """Both arms' scores behind `rubric5`.

    >>> round(rubric5_scores(-0.05).difference().mean, 4)
    -0.05
    """
    return _copula("rubric5", np.arange(5) / 4, np.array([0.04, 0.06, 0.15, 0.30, 0.45]), mean)


def passfail_scores(mean: float = 0.0) -> Joint:
    """Both arms' scores behind `passfail`.

    >>> round(passfail_scores(-0.05).difference().mean, 4)
    -0.05
    """
    return _copula("passfail", np.arange(2.0), np.array([0.15, 0.85]), mean)


def weighted21_scores(mean: float = 0.0) -> Joint:
    """Both arms' scores behind `weighted21`.

    >>> round(weighted21_scores(-0.05).difference().mean, 4)
    -0.05
    """
    levels = np.arange(21) / 20
    edges = np.clip(np.concatenate(([0.0], (levels[1:] + levels[:-1]) / 2, [1.0])), 0.0, 1.0)
    return _copula("weighted21", levels, np.diff(beta.cdf(edges, 8, 2.2)), mean)


def _law(name: str, d_milli: NDArray[np.int64], probability: FloatArray) -> Law:
    """The law of values that may repeat."""
    values, index = np.unique(d_milli, return_inverse=True)
    mass = np.bincount(index.ravel(), weights=probability.ravel(), minlength=len(values))
    return Law(name=name, d_milli=values, probability=mass / mass.sum())


def _drawn(probability: FloatArray, rng: np.random.Generator, size: int | tuple[int, ...]) -> NDArray[np.int64]:
    """Places in `probability`, drawn by inversion: a guide table starts the search where it nearly ends."""
    edges = np.cumsum(probability)[:-1]
    guide = np.searchsorted(edges, np.arange(_GUIDES) / _GUIDES, side="right")
    uniform = rng.random(size)
    places: NDArray[np.int64] = guide[(uniform * _GUIDES).astype(np.int64)]
    above = np.append(edges, np.inf)
    while (late := uniform >= above[places]).any():
        places += late
    return places


def _copula(name: str, levels: FloatArray, probability: FloatArray, mean: float) -> Joint:
    thresholds = ndtri(np.cumsum(probability)[:-1])

    def correlation_error(rho: float) -> float:
        joint = _joint(probability, thresholds, rho, 0.0)
        centred = levels - probability @ levels
        return float(centred @ joint @ centred / (probability @ centred**2)) - 0.5

    rho = float(brentq(correlation_error, 0.05, 0.99, xtol=1e-12))

    def mean_error(shift: float) -> float:
        return float(levels @ (_joint(probability, thresholds, rho, shift).sum(axis=0) - probability)) - mean

    shift = float(brentq(mean_error, -5.0, 5.0, xtol=1e-13))
    return Joint(name=name, levels=levels, probability=_joint(probability, thresholds, rho, shift))


def _joint(probability: FloatArray, thresholds: FloatArray, rho: float, shift: float) -> FloatArray:
    """P(teacher at level i, student at level j): Gauss-Legendre in the teacher's rank, exact in the student's."""
    below = np.concatenate(([0.0], np.cumsum(probability)[:-1]))
    ranks = below[:, None] + probability[:, None] * (_NODES + 1.0) / 2.0
    latent = ndtri(np.clip(ranks, 1e-15, 1.0 - 1e-15))
    reach = (thresholds[None, None, :] - rho * latent[:, :, None] - shift) / np.sqrt(1.0 - rho * rho)
    cumulative = np.einsum("n,inj->ij", _NODE_WEIGHTS / 2.0, ndtr(reach))
    rows = len(probability)
    padded = np.concatenate((np.zeros((rows, 1)), cumulative, np.ones((rows, 1))), axis=1)
    joint: FloatArray = probability[:, None] * np.diff(padded, axis=1)
    return joint
