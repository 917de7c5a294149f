"""Pairs: the list shows no content; reading one pair shows both answers, and that is an audited act."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from tutelage.contracts.errors import UnknownName
from tutelage.contracts.records import Attempt, Feedback, Json, Judgement, Pair
from tutelage.control.api.access import Admin, AtDesk
from tutelage.control.api.routes import known_route
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

    def read(store: Store) -> list[Json]:
        known_route(store, route)
        return [_headline(pair) for pair in store.pairs(route, limit, before)]

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


def _headline(pair: Pair) -> dict[str, Json]:
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
