"""Refusals: decisions that move nothing, recorded because somebody will ask why.

Owns what such a record holds and when two of them say the same. Must not know gates or how often one is written.
"""

import re

from router.rollout import Rollout
from scoring.gates import controller
from tutelage import __version__
from tutelage.contracts.decisions import Decision
from tutelage.store.apply import Basis

REFUSAL = "Stay"


def refusal(
    rollout: Rollout,
    reason: str,
    basis: Basis,
    *,
    id: str,  # noqa: A002 - as the record calls it
    at: float,
) -> Decision:
    """A decision that moves nothing."""
    share_bp, phase = rollout.share_in_force_bp, rollout.phase.value
    return Decision(
        id=id,
        at=at,
        route=rollout.route,
        student=rollout.student,
        attempt=rollout.attempt,
        epoch=rollout.epoch,
        revision_from=rollout.revision,
        revision_to=rollout.revision,
        phase_from=phase,
        phase_to=phase,
        from_bp=share_bp,
        to_bp=share_bp,
        event=REFUSAL,
        actor=controller.ACTOR,
        reason=reason,
        cells=basis.cells,
        detectors=dict(basis.detectors),
        facts=dict(basis.facts),
        folds=basis.folds,
        holds=tuple(sorted(rollout.holds)),
        code_version=__version__,
    )


def kind_of(reason: str) -> str:
    """A reason without its numbers: what it is about."""
    return re.sub(r"[-+]?\d[\d.,:]*", "#", reason)
