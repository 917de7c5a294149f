"""Pairs: the list shows no content; reading one pair shows both answers, and that is an audited act."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from router.types import Direction
from scoring.gates.labels import draws
from tutelage.contracts.errors import NotDrawn, UnknownName
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.records import Attempt, Feedback, Json
from tutelage.contracts.snapshot import Snapshot
from tutelage.control.api.access import Admin, AtDesk
from tutelage.control.api.routes import known_route, published
from tutelage.control.labels import HUMAN, due_at
from tutelage.store.base import Audit, Store

router = APIRouter(prefix="/admin/pairs")


@router.get("")
async def list_pairs(
    _: Admin,
    desk: AtDesk,
    route: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: float | None = None,
) -> Json:
    """Pairs of `route`, newest first, admitted before `before` (UTC seconds): who, when and how, without content."""
    now = desk.clock()

    def read(store: Store) -> list[Json]:
        known_route(store, route)
        snapshot = published(store)
        return [_headline(pair, snapshot, now) for pair in store.pairs(route, limit, before)]

    return {"pairs": await desk.ask(read)}


@router.get("/{pair_id}")
async def read_pair(pair_id: str, admin: Admin, desk: AtDesk) -> Json:
    """One pair with its content, its judgements and what people said of it. The reading is audited before anything is shown."""
    now = desk.clock()

    def read(store: Store) -> tuple[Pair, list[Judgement], list[Feedback]]:
        pair = store.pair(pair_id)
        if pair is None:
            raise UnknownName(f"no pair {pair_id[:128]!r}; GET /admin/pairs?route=NAME lists them")
        store.audit(
            Audit(at=now, actor=admin.id, action="read content", subject=pair.id, reason=f"pair of {pair.route}")
        )
        return pair, list(store.judgements(pair_id)), list(store.feedback(pair_id))

    pair, judgements, feedback = await desk.ask(read)
    return {
        "pair": msgspec.to_builtins(pair),
        "judgements": msgspec.to_builtins(judgements),
        "feedback": msgspec.to_builtins(feedback),
    }


class LabelBody(BaseModel):
    """A person's score of a pair: the student's less the teacher's, in [-1, 1]."""

    model_config = ConfigDict(extra="forbid")

    d: float = Field(ge=-1, le=1)


@router.post("/{pair_id}/label")
async def label_pair(pair_id: str, body: LabelBody, admin: Admin, desk: AtDesk) -> Json:
    """Record what a person makes of a pair, once. 409 where it was not drawn for it, is past its time, or has no score yet."""
    now = desk.clock()

    def write(store: Store) -> None:
        pair = store.pair(pair_id)
        if pair is None:
            raise UnknownName(f"no pair {pair_id[:128]!r}; GET /admin/pairs?route=NAME lists them")
        if not _to_label(published(store), pair, now):
            raise NotDrawn(f"pair {pair.id} is not to be labelled: `to_label` in GET /admin/pairs says which are")
        judged = list(store.judgements(pair.id))
        if not judged:
            raise NotDrawn(f"pair {pair.id} has no score yet: label it when it has one")
        if any(judgement.method == HUMAN for judgement in judged):
            raise NotDrawn(f"pair {pair.id} is labelled: what counts is not changed afterwards")
        said = Judgement(pair_id=pair.id, rubric=judged[0].rubric, method=HUMAN, scores=(), d=body.d, scored_at=now)
        store.audit(Audit(at=now, actor=admin.id, action="label", subject=pair.id, reason=f"d {body.d:+.3f}"))
        store.judged([said])

    await desk.ask(write)
    return {"id": pair_id, "d": body.d}


def _to_label(snapshot: Snapshot, pair: Pair, now: float) -> bool:
    """Whether people are asked about this pair: a forward pair that was drawn, of the epoch in force or a successor's, within
    its time."""
    epochs = (snapshot.epochs.get(pair.route), snapshot.successors.get(pair.route))
    epoch = next((known for known in epochs if known is not None and known.id == pair.epoch), None)
    if epoch is None or pair.excluded is not None:
        return False
    drawn = pair.direction is Direction.FORWARD and draws(epoch, pair.id)
    return drawn and now <= due_at(epoch, pair.admitted_at)


def _headline(pair: Pair, snapshot: Snapshot, now: float) -> dict[str, Json]:
    return {
        "id": pair.id,
        "route": pair.route,
        "epoch": pair.epoch,
        "attempt": pair.attempt_number,
        "revision": pair.revision,
        "direction": pair.direction,
        "admitted_at": pair.admitted_at,
        "endpoint": pair.endpoint,
        "holdout": pair.holdout,
        "excluded": pair.excluded,
        "train": pair.policy.train,
        "training_use": pair.training_use,
        "to_label": _to_label(snapshot, pair, now),
        "parity": list(pair.parity),
        "slices": pair.slices,
        "teacher": _call(pair.teacher),
        "student": _call(pair.student),
    }


def _call(attempt: Attempt | None) -> Json:
    if attempt is None:
        return None
    return {
        "upstream": attempt.upstream,
        "version": attempt.version,
        "status": attempt.status,
        "error": attempt.error,
        "total_ms": attempt.total_ms,
        "cost_nusd": attempt.cost_nusd,
    }
