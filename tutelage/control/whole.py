"""A carved route as a whole: what its parts and the rest come to together.

Owns the sums, over what the store holds of each. A route's own answers of the last days say how its traffic is made up: the
share of the whole is the mean of the shares in force over that mix. Knows not HTTP or terminals.
"""

from collections.abc import Mapping, Sequence

from scoring.economics import ACCOUNTS, STUDENT, TEACHER, Statement, statement_of
from tutelage.contracts.parts import family, parts_of
from tutelage.contracts.records import Json, Spending
from tutelage.contracts.routes import RouteSettings
from tutelage.store.base import RolloutStore, Store

MIX_DAYS = 7
"""The last days with an answer, over which the mix of the traffic is taken."""


def whole_document(store: Store, routes: Mapping[str, RouteSettings], name: str) -> dict[str, Json] | None:
    """The sums over route `name` and its parts; None where it has no parts, or is one. Unknown amounts are null."""
    if not parts_of(routes, name):
        return None
    names = family(routes, name)
    depths = [store.depth(each) for each in names]
    spendings = {each: store.spending(each) for each in names}
    answers = _answers(spendings)
    total = sum(answers.values())
    return {
        "share_in_force_bp": None if total == 0 else round(_student_bp(store, answers) / total),
        "mix": {each: answers[each] / total for each in names} if total else None,
        "waiting": sum(depth.waiting for depth in depths),
        "scored": sum(depth.scored for depth in depths),
        **_money([statement_of(rows) for rows in spendings.values()]),
    }


def _student_bp(store: RolloutStore, answers: Mapping[str, int]) -> int:
    found = {name: store.rollout(name) for name in answers}
    return sum(
        count * (0 if (one := found[name]) is None else one.share_in_force_bp) for name, count in answers.items()
    )


def _answers(spendings: Mapping[str, Sequence[Spending]]) -> dict[str, int]:
    """Answers to users by part, over the last days of the route."""
    last = max((row.day for rows in spendings.values() for row in rows), default=0)
    return {
        name: sum(row.calls for row in rows if row.account in (TEACHER, STUDENT) and row.day > last - MIX_DAYS)
        for name, rows in spendings.items()
    }


def _money(statements: Sequence[Statement]) -> dict[str, Json]:
    """Sums since the store began; what one part does not know, the whole does not."""
    spent = {name: _sum([each.line(name).known_usd for each in statements]) for name in ACCOUNTS}
    return {
        "spent_usd": spent,
        "net_usd": _sum([each.net_usd for each in statements]),
        "unknown": [name for name in ACCOUNTS if spent[name] is None],
        "days": max(each.days for each in statements),
    }


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [usd for usd in amounts if usd is not None]
    return sum(known) if len(known) == len(amounts) else None
