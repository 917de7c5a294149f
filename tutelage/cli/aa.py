"""`tutelage aa ROUTE FILE`: a model against itself through the whole pipeline, an alarm for the plumbing.

The route's student is its teacher. The inputs go through the running gateway as an app would send them: split, shadowed,
spooled, joined, judged. Owns the sending and the waiting; what the pairs say is `scoring.plumbing`'s.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.types import FULL_BP
from tutelage.cli.lent import lent_key
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer, bar
from tutelage.cli.stores import opened
from tutelage.contracts.errors import ConfigurationError, TutelageError, UnknownName
from tutelage.contracts.pairs import Judgement, Pair
from tutelage.contracts.settings import Settings
from tutelage.store.base import Store

if TYPE_CHECKING:
    from scoring.plumbing import Plumbing

CLIENTS = 8
KEY_SPREADS_S = 2.0
POLL_S = 0.5


def register(app: typer.Typer) -> None:
    app.command("aa")(aa)


def aa(
    *,
    route: Annotated[str, typer.Argument(help="A route whose student is its teacher.", show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="JSON Lines of chat requests.")],
    config: Config = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(help="Inputs, from the top of the file.", min=1)] = 500,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the last judgement.", min=1)] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Compare a model with itself: means that are not 0 and pairs that got lost are faults. Exit code 1 with a fault."""
    from tutelage.evaluation.inputs import read_inputs

    requests = read_inputs(file, limit)
    with opened(config) as (settings, store):
        _check(settings, route)
        before = store.depth(route).by_exclusion
        with lent_key(store, "aa") as key, bar(len(requests), f"{len(requests)} inputs", as_json=as_json) as told:
            time.sleep(KEY_SPREADS_S)
            ids = asyncio.run(_send(settings.internal.gateway_url, key, route, requests))
            found = _found(store, route, ids, before, wait_s=wait, told=told)
    answer(asdict(found) | {"route": route, "verdict": found.verdict}, "\n".join(_in_words(found)), as_json=as_json)
    if found.alarms:
        raise typer.Exit(1)


def _check(settings: Settings, name: str) -> None:
    """Raises UnknownName or ConfigurationError for a route that does not compare a model with itself, all of it."""
    route = settings.routes.get(name)
    if route is None:
        raise UnknownName(f"no route {name!r}; there are {', '.join(sorted(settings.routes))}")
    arms = [settings.upstreams[arm] for arm in (route.teacher, route.student) if arm is not None]
    if len(arms) < 2 or not arms[0].same_model(arms[1]):
        raise ConfigurationError(
            f"routes.{name} compares two models: write student: {route.teacher} to compare it with itself"
        )
    if (route.shadow.student, route.shadow.teacher) != (FULL_BP, FULL_BP):
        raise ConfigurationError(f"routes.{name} leaves pairs out: write shadow: {{student: 100%, teacher: 100%}}")
    if route.rubric is None:
        raise ConfigurationError(f"routes.{name} has no rubric: nothing would be scored")


async def _send(url: str, key: str, route: str, requests: Sequence[dict[str, Any]]) -> list[str]:
    """The ids of the requests that were answered, in no order. Each is its own user."""
    import httpx

    ids: list[str] = []
    pending = iter(enumerate(requests))
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120.0, trust_env=False) as http:

        async def client() -> None:
            for number, request in pending:
                session = {"x-tutelage-session": f"aa-{key[-8:]}-{number}"}
                try:
                    reply = await http.post("/v1/chat/completions", json=request | {"model": route}, headers=session)
                except httpx.HTTPError as fault:
                    raise TutelageError(f"the gateway at {url} does not answer: {type(fault).__name__}") from None
                if reply.status_code == 200:
                    ids.append(reply.headers["x-tutelage-request-id"])

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    if not ids:
        raise TutelageError(f"no request was answered by route {route!r}: see `tutelage status`")
    return ids


def _found(store: Store, route: str, ids: Sequence[str], before: Any, *, wait_s: float, told: Any) -> "Plumbing":
    """Wait until every request is accounted for, or the time is over; then what came of them."""
    from scoring.plumbing import plumbing

    deadline = time.monotonic() + wait_s
    judged: dict[str, tuple[Pair, Judgement]] = {}
    while True:
        for name in ids:
            if name not in judged and (judgements := store.judgements(name)) and (pair := store.pair(name)):
                judged[name] = (pair, judgements[0])
        after = store.depth(route).by_exclusion
        excluded = {reason: count - before.get(reason, 0) for reason, count in after.items()}
        new = {reason: count for reason, count in excluded.items() if count > 0}
        told(len(judged) + sum(new.values()))
        if len(judged) + sum(new.values()) >= len(ids) or time.monotonic() > deadline:
            return plumbing(len(ids), list(judged.values()), new)
        time.sleep(POLL_S)


def _in_words(found: "Plumbing") -> list[str]:
    from scoring.plumbing import PAIRS

    lines = [f"{found.verdict}: {found.judged} of {found.asked} pairs judged"]
    for name, seen in found.directions.items():
        lines.append(
            f"{name}: {seen.pairs} pairs, mean {seen.mean:+.4f}, between {seen.lower:+.3f} and {seen.upper:+.3f}"
        )
    if (order := found.order) is not None:
        lines.append(
            f"the answer shown first has {order.mean:+.4f} over the second, between {order.lower:+.3f} and {order.upper:+.3f}"
        )
        lines += [found.order_alarm] if found.order_alarm is not None else []
    lines += [f"{count} x {name}" for name, count in sorted({**found.excluded, **found.missing}.items())]
    lines += [f"alarm: {alarm}" for alarm in found.alarms]
    return lines + ([f"{PAIRS} inputs say more"] if found.asked < PAIRS else [])
