"""What the admin plane and the command line both show of a rollout. Must not know HTTP or terminals."""

from router.rollout import Rollout
from tutelage.contracts.records import Json


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
