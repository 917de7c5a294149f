"""The admin plane as an application: routers, the one error envelope, health and metrics.

Owns the translation of every error into `{"error": {"message", "type", "param", "code"}}`; nothing else ever leaves
this plane. Must not know what a rollout is. To add a noun: one file in api/, one line in `ROUTERS`.
"""

from collections.abc import Callable

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import INVALID_REQUEST, SERVER_ERROR, InternalFault, Refusal, envelope, of_status
from router.rollout import IllegalTransition
from tutelage import __version__
from tutelage.contracts.errors import NotDrawn, StaleRevision, StoreUnavailable, TutelageError, UnknownName
from tutelage.contracts.records import Json
from tutelage.control.api import keys, pairs, routes, subjects
from tutelage.control.desk import Desk

log = structlog.get_logger()

ROUTERS: tuple[APIRouter, ...] = (routes.router, pairs.router, keys.router, subjects.router)
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (StaleRevision, "stale_revision"),
    (UnknownName, "not_found"),
    (NotDrawn, "not_drawn"),
    (StoreUnavailable, "store_unavailable"),
    (IllegalTransition, "illegal_transition"),
)
_CONFLICT = 409
_TOO_LARGE = 413
BODY_BYTES = 65_536
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def application(desk: Desk, scrape: Callable[[], bytes], alive: Callable[[], bool]) -> FastAPI:
    """The admin plane over `desk`. `scrape` gives the metrics, `alive` tells whether the loop still turns."""
    app = FastAPI(
        title="Tutelage admin plane",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.desk = desk
    for router in ROUTERS:
        app.include_router(router)
    _answer_errors(app)
    app.add_middleware(Front)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(scrape(), media_type=METRICS_TYPE)

    @app.get("/livez")
    async def livez() -> Json:
        if not alive():
            raise of_status(503, "The control loop has stopped.")
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Json:
        await desk.ask(lambda store: store.sequence())
        return {"status": "ok"}

    return app


class Front:
    """Around everything else: bodies above `BODY_BYTES` are refused unread, a slash at a path's end means nothing, and no browser
    may take an answer for something else than it says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def as_said(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            await send(message)

        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit() or len(length) > 15 or int(length) > BODY_BYTES:
            words = f"The request is larger than {BODY_BYTES} bytes, or does not say how large it is."
            refusal = of_status(_TOO_LARGE, words)
            await _json(_TOO_LARGE, refusal.body(), {"connection": "close"})(scope, receive, as_said)
            return
        await self._app({**scope, "path": scope["path"].rstrip("/") or "/"}, receive, as_said)


def _answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(TutelageError, _failed)
    app.add_exception_handler(IllegalTransition, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _crashed)


async def _refused(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, Refusal)  # noqa: S101 - registered for this class alone
    headers = {name.decode(): value.decode() for name, value in fault.headers}
    return _json(fault.status, fault.body(), headers)


async def _failed(_: Request, fault: Exception) -> Response:
    status = fault.status if isinstance(fault, TutelageError) else _CONFLICT
    code = next((code for kind, code in _CODES if isinstance(fault, kind)), None)
    return _json(status, envelope(str(fault), INVALID_REQUEST if status < 500 else SERVER_ERROR, code=code))


async def _invalid(_: Request, fault: Exception) -> Response:
    """A body or query that does not fit. The words name the field, never the value."""
    assert isinstance(fault, RequestValidationError)  # noqa: S101 - registered for this class alone
    first = fault.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    message = f"{param}: {first['msg']}." if param else "Send a JSON object, with `Content-Type: application/json`."
    return _json(400, envelope(message[:1000], INVALID_REQUEST, param=param, code="invalid_request"))


async def _http(request: Request, fault: Exception) -> Response:
    """What the framework itself refuses: an unknown path, another method."""
    assert isinstance(fault, HTTPException)  # noqa: S101 - registered for this class alone
    words = {
        404: f"Unknown request URL: {request.method} {request.url.path[:256]}.",
        405: f"Not allowed to {request.method} on this URL.",
    }
    refusal = of_status(fault.status_code, words.get(fault.status_code, fault.detail))
    refusal.code = {404: "unknown_url", 405: "method_not_supported"}.get(fault.status_code)
    return _json(refusal.status, refusal.body(), dict(fault.headers or {}))


async def _crashed(request: Request, fault: Exception) -> Response:
    """The request's loop top: a defect is logged with its traceback and told without."""
    log.error("a request of the admin plane crashed", path=request.url.path, exc_info=fault)
    return _json(InternalFault.status, InternalFault().body())


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status_code=status, headers=headers, media_type="application/json")
