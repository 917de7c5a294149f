"""The composition of one gateway process: objects are built here, tied together, served and drained.

This is the top of the request loop: every Refusal becomes the envelope here, and what nobody expected becomes a 500 that tells
nothing. To add an endpoint: a file in `gateway/api` and its line in `ENDPOINTS`.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from gateway.admission import Admission
from gateway.api import chat, completions, embeddings, feedback, health, models, passthrough, responses
from gateway.api.health import Answer
from gateway.attempt import Means
from gateway.dispatch import Dispatcher
from gateway.errors import InternalFault, Refusal, UnknownPath, WrongMethod
from gateway.front import Front
from gateway.lanes import Build, Lanes
from gateway.memory import Memory
from gateway.metrics import Metrics, State
from gateway.pressure import Beating, Pressure, Pulse
from gateway.quotas import Quotas
from gateway.request import Disconnected, Request
from gateway.routing import routing_of
from gateway.server import Server, client_connections, listen, serving
from gateway.shadow import ShadowPool
from gateway.snapshots import Snapshots, Source, View
from gateway.spool import Spool, open_spool
from gateway.upstreams.base import Upstream
from gateway.upstreams.registry import build_upstream
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.ids import uuid7
from tutelage.contracts.keys import KeyLimits
from tutelage.contracts.prices import PriceList
from tutelage.contracts.settings import Settings
from tutelage.contracts.upstreams import UpstreamSettings
from tutelage.store.registry import open_store

log = structlog.get_logger()

MB = 2**20
CUT_S = 1.0
"""How long streams that are cut have to say so."""
SHADOWS_S = 3.0
SPOOL_S = 4.0
_JSON = ((b"content-type", b"application/json"),)

ENDPOINTS = {
    chat.PATH: chat.ENDPOINT,
    completions.PATH: completions.ENDPOINT,
    embeddings.PATH: embeddings.ENDPOINT,
    responses.PATH: responses.ENDPOINT,
}
PROBES: dict[str, Callable[[Front], Answer]] = {"/livez": health.livez, "/readyz": health.readyz}
READ_WITH = ("GET", "HEAD")


class DataPlane:
    """The data plane: what is served at which path."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, request: Request) -> None:
        request_id = uuid7(self._front.utc())
        try:
            endpoint = ENDPOINTS.get(request.path)
            if endpoint is not None and request.method == "POST":
                await self._front.serve(endpoint, request_id, request)
            elif request.path == feedback.PATH and request.method == "POST":
                _answer(request, await feedback.taken(self._front, request_id, request))
            elif (answer := self._small(request)) is not None:
                _answer(request, answer)
            else:
                await self._pass_through(request_id, request)
        except Disconnected:
            log.info("client left inside its request", request=request_id)
        except Refusal as refusal:
            self._refused(refusal, request_id, request)
        except Exception:
            log.exception("request failed", request=request_id, path=request.path[:256])
            self._refused(InternalFault(), request_id, request)

    def _small(self, request: Request) -> Answer | None:
        """What is answered at once, from memory."""
        path = request.path
        probe = PROBES.get(path)
        if probe is not None:
            if request.method not in READ_WITH:
                raise WrongMethod(request.method, READ_WITH[0])
            return probe(self._front)
        ours = request.method in READ_WITH and models.is_ours(path)
        return models.answer(self._front, request.headers, path) if ours else None

    async def _pass_through(self, request_id: str, request: Request) -> None:
        """What is served elsewhere, if anywhere; who has no key does not learn where."""
        path, routing = request.path, self._front.routing
        if path.startswith(passthrough.PREFIX):
            passthrough.require_allowed(self._front.head_of(request.headers).key)
        allowed = "POST" if path in ENDPOINTS or path == feedback.PATH else "GET" if models.is_ours(path) else None
        await self._front.serve(passthrough.endpoint_of(request, routing, allowed), request_id, request)

    def _refused(self, refusal: Refusal, request_id: str, request: Request) -> None:
        """Tell the client, unless its answer has begun: then the connection is broken off."""
        self._front.metrics.refused(refusal.code or "unknown")
        if not request.started:
            lines = [*_JSON, *refusal.headers, (b"x-tutelage-request-id", request_id.encode())]
            request.respond(refusal.status, lines, refusal.body())


class OwnPlane:
    """The process's own port: probes and metrics."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, request: Request) -> None:
        probe = health.metrics if request.path == "/metrics" else PROBES.get(request.path)
        if probe is None:
            refusal = UnknownPath(request.method, request.path)
            request.respond(refusal.status, _JSON, refusal.body())
        else:
            _answer(request, probe(self._front))


def _answer(request: Request, answer: Answer) -> None:
    status, kind, body = answer
    request.respond(status, ((b"content-type", kind),), body)


# --- one process ------------------------------------------------------------------------------------------------------


def _build_upstream(name: str, settings: UpstreamSettings) -> Upstream:
    return build_upstream(name, settings, os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a process is built with: replaced in tests, one by one."""

    open_source: Callable[[str], Source] = open_store
    build: Build = _build_upstream
    open_spool: Callable[[Settings, str], Spool] = open_spool
    utc: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    pulse: Callable[[Pressure], Beating] = Pulse


class Gateway:
    """One gateway process: `run` serves until SIGTERM or `stop`, drains, and returns the exit code."""

    def __init__(self, settings: Settings, index: int, wiring: Wiring | None = None) -> None:
        self._settings = settings
        self._index = index
        self._wiring = wiring or Wiring()
        self.id = f"gateway-{index}-{os.getpid()}"
        self.port = 0
        self.own_port = 0
        self.started = asyncio.Event()
        self._stopping = asyncio.Event()
        self._built = False

    def stop(self) -> None:
        """Begin the drain."""
        self._stopping.set()

    async def run(self) -> int:
        wiring, settings, loop = self._wiring, self._settings, asyncio.get_running_loop()
        snapshots = Snapshots(
            settings=settings,
            open_store=partial(wiring.open_source, settings.store.url),
            deliver=lambda view: _to_loop(loop, self._apply, view),
        )
        view = await loop.run_in_executor(None, snapshots.start)
        spool = self._spool = wiring.open_spool(settings, self.id)
        self._build(snapshots.current or view, spool)
        own = listen(_own_bind(settings, self._index))
        main = listen(settings.gateway.bind)
        self.port, self.own_port = main.getsockname()[1], own.getsockname()[1]
        async with serving(Server(OwnPlane(self.front)), own):
            async with serving(Server(DataPlane(self.front), self._drained, client_connections()), main):
                log.info("serving", gateway=self.id, port=self.port, own_port=self.own_port, source=view.source)
                self.started.set()
                await self._stopping.wait()
                self.front.admission.draining = True
                log.info("draining", gateway=self.id, open=self.front.admission.open)
                self._deadline = wiring.monotonic() + settings.gateway.drain_deadline
            left = max(SHADOWS_S, self._deadline - wiring.monotonic())
            cut = await self._shadows.drain(left)
            counts = await spool.drain(SPOOL_S)
        self._pulse.stop()
        snapshots.stop()
        await self._lanes.aclose()
        log.info("ended", gateway=self.id, shadows_cut=cut, durable=counts.durable, in_queue=counts.in_queue)
        return 0

    def _build(self, view: View, spool: Spool) -> None:
        wiring, limits = self._wiring, self._settings.limits
        answer_bytes = int(limits.answer_mb * MB)
        memory = Memory(int(limits.memory_mb * MB))
        new_id = lambda: uuid7(wiring.utc())  # noqa: E731 two clocks tied together
        self._lanes = Lanes(wiring.build, wiring.monotonic)
        self._shadows = ShadowPool(
            limit=limits.shadows,
            spool=spool,
            answer_bytes=answer_bytes,
            memory=memory,
            utc=wiring.utc,
            monotonic=wiring.monotonic,
            new_id=new_id,
        )
        pressure = Pressure()
        self._pulse = wiring.pulse(pressure)
        admission = Admission(
            streams=limits.streams, request_bytes=int(limits.request_mb * MB), pressure=pressure, memory=memory
        )
        metrics = Metrics()
        means = Means(
            lanes=self._lanes,
            shadows=self._shadows,
            spool=spool,
            metrics=metrics,
            memory=memory,
            shedding=lambda: admission.shedding,
            answer_bytes=answer_bytes,
            new_id=new_id,
            utc=wiring.utc,
            monotonic=wiring.monotonic,
        )
        prices = PriceList(view.settings.upstreams)
        spool.price_by(prices)
        quotas = Quotas(
            defaults=KeyLimits(**limits.key.model_dump()),
            processes=self._settings.gateway.count(os.cpu_count() or 1),
            prices=prices,
            monotonic=wiring.monotonic,
            utc=wiring.utc,
        )
        self._lanes.update(view.settings.upstreams)
        self.front = Front(
            routing=routing_of(view.snapshot, view.settings, view.kills, view.source),
            admission=admission,
            quotas=quotas,
            dispatcher=Dispatcher(means),
            keep=spool.offer,
            metrics=metrics,
            utc=wiring.utc,
            monotonic=wiring.monotonic,
        )
        self._built = True
        metrics.snapshot(view.snapshot.sequence)
        metrics.watch(
            State(
                open_requests=lambda: admission.open,
                held_bytes=lambda: memory.taken_bytes,
                pressure=pressure,
                shadows=lambda: self._shadows.taken,
                breakers=lambda: [(lane.name, lane.state, lane.calls) for lane in self._lanes.all()],
                counts=spool.counts,
            )
        )

    def _apply(self, view: View) -> None:
        """Put a newer view in force, on the event loop. One that cannot be used changes nothing."""
        if not self._built:
            return  # what is built from is the view that is in force then
        held = self.front.routing
        if (view.snapshot.generation, view.snapshot.sequence) < (held.generation, held.sequence):
            return
        try:
            routing = routing_of(view.snapshot, view.settings, view.kills, view.source)
            self._lanes.update(view.settings.upstreams)
        except (ConfigurationError, KeyError, ValueError):
            log.exception("snapshot not used; the last one stays", sequence=view.snapshot.sequence)
            return
        if routing.upstreams != held.upstreams:
            self.front.quotas.prices = prices = PriceList(routing.upstreams)
            self._spool.price_by(prices)
        self.front.quotas.forget_others(routing.keys.values())
        self.front.routing = routing
        self.front.metrics.snapshot(view.snapshot.sequence)
        log.info("snapshot", sequence=view.snapshot.sequence, source=view.source, kills=sorted(view.kills))

    async def _drained(self) -> None:
        left = max(0.0, self._deadline - self._wiring.monotonic())
        cut = await self.front.admission.drain(left, CUT_S)
        if cut:
            log.warning("open requests were cut", gateway=self.id, cut=cut)


def _to_loop(loop: asyncio.AbstractEventLoop, apply: Callable[[View], None], view: View) -> None:
    """From a poller's thread; the loop may have ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(apply, view)


def _own_bind(settings: Settings, index: int) -> str:
    """Without a port that is told to scrapers, probes and metrics are this machine's own business."""
    host = settings.gateway.bind.rpartition(":")[0]
    port = settings.gateway.metrics_port
    return f"{host}:{port + index}" if port else "127.0.0.1:0"


async def run(settings: Settings, index: int) -> int:
    """The process's main: until SIGTERM or SIGINT."""
    gateway = Gateway(settings, index)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, gateway.stop)
    return await gateway.run()
