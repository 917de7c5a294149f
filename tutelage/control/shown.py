"""What the admin plane and the command line both show of a rollout. Must not know HTTP or terminals."""

from collections.abc import Sequence

from router.rollout import Rollout
from scoring.economics import FixedCosts, break_even, statement_of
from tutelage.contracts.records import Json, Spending
from tutelage.contracts.routes import RouteSettings


def rollout_document(rollout: Rollout) -> dict[str, Json]:
    """A rollout as JSON, under the names of the admin plane."""
    return {
        "route": rollout.route,
        "student_version": rollout.student,
        "mode": rollout.mode,
        "phase": rollout.phase,
        "share_bp": rollout.share_bp,
        "share_in_force_bp": rollout.share_in_force_bp,
        "killed": rollout.killed,
        "rung": rollout.rung,
        "stages": list(rollout.ladder.shares_bp),
        "holds": sorted(rollout.holds),
        "revision": rollout.revision,
        "attempt": rollout.attempt,
        "alpha_index": rollout.alpha_index,
        "epoch": rollout.epoch,
        "entered_at": rollout.entered_at,
        "waived_by": rollout.waived_by,
        "initial_bp": rollout.initial_bp,
    }


def family_document(found: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """The first of them, a route's, with those of its parts."""
    return found[0] if len(found) == 1 else {**found[0], "parts": list(found[1:])}


def economics_document(route: RouteSettings, spendings: Sequence[Spending]) -> dict[str, Json]:
    """What the route has cost and saved since the store began; unknown is null. `break_even` is null without a net."""
    statement = statement_of(spendings)
    fixed = FixedCosts(**route.fixed_cost.model_dump())
    even = break_even(statement, fixed)
    document: dict[str, Json] = statement.as_json()
    return document | {"fixed_usd": fixed.once_usd, "break_even": None if even is None else even.as_json()}
