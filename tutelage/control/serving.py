"""How requests were served, by what needs no judge: from the record of an exchange to the units of the fast lane. Pure.

Every request of the population counts, whether it was drawn for a shadow or not, and each in the same way whichever arm
it was assigned to: what checks find in the answer of its own arm, and what people said of it in time. An arm that failed,
or could not be asked, brought about 0, whoever answered in its place; so did one whose client hung up.

Owns the draw, what an exchange is worth, the units. Must not know comparisons (`scoring.gates.fastlane`) or stores. What a
check finds is the rubric's (`scoring.rubrics.scorer`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from router.split import sampled
from router.types import FULL_BP, Direction, UnitOf
from scoring.evidence import OUTCOME, SERVED
from tutelage.contracts.decisions import Epoch, Unit
from tutelage.contracts.pairs import Serving
from tutelage.contracts.records import Exchange, Feedback, Json
from tutelage.control.conclude import EMBEDDINGS, JoinRoute, direction_of
from tutelage.store.base import Served

FEEDBACK_S = 120.0
"""For so long people may say something of a single request. Of both arms the same: what comes later counts for neither."""
SERVINGS_EVERY_S = 5.0
SERVINGS_AT_ONCE = 500


def serving_of(exchange: Exchange, route: JoinRoute) -> Serving | None:
    """How the exchange was served; None where it is of another epoch, not drawn, outside the population, not kept, or
    where one arm alone could be assigned.
    """
    plan, gates, reader = exchange.plan, route.epoch.gates, route.reader
    if (
        reader is None
        or OUTCOME not in gates.guardrails
        or exchange.epoch != route.epoch.id
        or exchange.policy.log != "full"
    ):
        return None
    if not plan.in_population or not 0 < plan.share_bp < FULL_BP or exchange.endpoint == EMBEDDINGS:
        return None
    if not sampled(f"{exchange.salt}/outcome", exchange.conversation, "", gates.outcome_bp):
        return None
    own = [attempt for attempt in exchange.attempts if attempt.arm is plan.assigned]
    return Serving(
        id=exchange.id,
        route=exchange.route,
        epoch=exchange.epoch,
        revision=exchange.revision,
        direction=direction_of(exchange),
        unit=exchange.id if route.unit is UnitOf.REQUEST else exchange.conversation,
        key=exchange.conversation,
        at=exchange.admitted_at,
        slices=exchange.slices,
        value=reader(own[-1], exchange.request, exchange.input_hash) if own else 0.0,
    )


def quiet_s(epoch: Epoch) -> float:
    """How long after its last request a unit is counted: and for how long people may say something of each."""
    return FEEDBACK_S if epoch.unit == UnitOf.REQUEST else epoch.idle_s


def units_of(served: Sequence[Served], epoch: Epoch) -> tuple[Unit, ...]:
    """Each unit, direction and epoch apart, with the mean of its requests as its only metric."""
    ordered = sorted(served, key=_population)
    units = [_unit(tuple(group), quiet_s(epoch)) for _, group in groupby(ordered, key=_population)]
    return tuple(sorted(units, key=lambda made: (made.last_at, made.id)))


def _population(one: Served) -> tuple[str, Direction, str]:
    return one.serving.unit, one.serving.direction, one.serving.epoch


def _unit(served: tuple[Served, ...], in_time_s: float) -> Unit:
    first = min((one.serving for one in served), key=lambda serving: (serving.at, serving.id))
    return Unit(
        id=first.id,
        route=first.route,
        epoch=first.epoch,
        direction=first.direction,
        revision=min(one.serving.revision for one in served),
        key=first.key,
        d=None,
        first_at=first.at,
        last_at=max(one.serving.at for one in served),
        turns=0,
        slices=first.slices,
        metrics={SERVED: sum(_worth(one, in_time_s) for one in served) / len(served)},
    )


def _worth(one: Served, in_time_s: float) -> float:
    """The mean of what checks find and of what people said of it in time."""
    serving = one.serving
    people = by_people([said for said in one.feedback if said.at <= serving.at + in_time_s])
    return serving.value if people is None else (serving.value + people) / 2


def by_people(feedback: Sequence[Feedback]) -> float | None:
    """Thumbs and scores in [0, 1]; a correction says that the answer was wrong. None where nobody said anything."""
    said = [value for one in feedback if (value := FEEDBACK.get(one.type, lambda _: None)(one.value)) is not None]
    return sum(said) / len(said) if said else None


FEEDBACK: Mapping[str, Callable[[Json], float | None]] = {
    "thumb": lambda value: float(value == "up"),
    "score": float,
    "correction": lambda _: 0.0,
}
"""What people say, as an outcome. A comment says nothing that can be counted."""
