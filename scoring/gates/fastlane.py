"""The fast lane: what students bring about against what teachers do, between users, without a judge.

Owns   `Comparison`: the students' outcomes that wait for teachers, and the difference that they come to.
Knows not  what an outcome is, what follows.

In reverse pairs the teacher is asked on a history that the student led, so d near 0 can hide harm; and most of what a
student serves is in no pair. So outcomes are compared over all traffic, drawn for a shadow or not. Assignment is random, so the
outcome of students less the mean of the next teachers of the same slice has mean 0 where nothing is wrong, and at
least -δ_r where it is within the margin; it is an observation in [-1, 1] of the stream `outcome`. Students that come
while teachers are waited for are averaged: each teacher stands in one difference only, as the detector's guarantee asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from router.types import Direction
from scoring.evidence import OUTCOME, SERVED
from tutelage.contracts.decisions import Unit

TEACHERS = 5
"""How many teacher units a difference waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Outcomes of one slice so far, in thousandths, and the oldest revision among them."""

    students: int = 0
    students_milli: int = 0
    teachers: int = 0
    teachers_milli: int = 0
    revision: int = 0

    def after(self, unit: Unit, outcome: float) -> Comparison:
        """One more outcome. Teachers count only while a student waits for them."""
        milli = round(1000 * outcome)
        if unit.direction is Direction.REVERSE:
            return Comparison(
                students=self.students + 1,
                students_milli=self.students_milli + milli,
                teachers=self.teachers,
                teachers_milli=self.teachers_milli,
                revision=min(unit.revision, self.revision) if self.students else unit.revision,
            )
        if not self.students:
            return self
        return Comparison(
            students=self.students,
            students_milli=self.students_milli,
            teachers=self.teachers + 1,
            teachers_milli=self.teachers_milli + milli,
            revision=min(unit.revision, self.revision),
        )

    @property
    def difference(self) -> float | None:
        """Students less teachers, in [-1, 1]; None until enough teachers have come."""
        if self.teachers < TEACHERS:
            return None
        return (self.students_milli / self.students - self.teachers_milli / self.teachers) / 1000


Comparisons = Mapping[str, Comparison]
"""By the labels of their slices."""


def compared(comparisons: Comparisons, unit: Unit, slices: str) -> tuple[Comparisons, Unit | None]:
    """The comparisons after `unit`, and the observation that they come to: a unit of the students' stream."""
    outcome = unit.metrics.get(SERVED)
    if outcome is None:
        return comparisons, None
    following = comparisons.get(slices, Comparison()).after(unit, outcome)
    difference = following.difference
    if difference is None:
        return {**comparisons, slices: following} if following.students else comparisons, None
    observed = msgspec.structs.replace(
        unit,
        direction=Direction.REVERSE,
        revision=following.revision,
        d=None,
        missing=None,
        metrics={OUTCOME: difference},
    )
    return {name: kept for name, kept in comparisons.items() if name != slices}, observed
