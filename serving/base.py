"""What all services share: routes over one released bundle, behind one guard.

The routes are a FastAPI app whose handlers take the raw request and declare their OpenAPI: they are
documented like any other, and a request pays for one parse, one prediction and one ``dumps``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from features.errors import ConfigError, DataError
from features.settings import Workspace
from serving import keys
from serving.guard import FAILED, Guard, Limits, Refused, Rule

if TYPE_CHECKING:
    from serving.lookup import Lookup
    from serving.metrics import Metrics
    from serving.release import Release
    from training.bundle import Loaded
    from training.contract import Kind

_STATIC = "/static_content"
"""Where BentoML keeps the files of Swagger UI, so that the docs page needs no internet."""

_LOOK = Rule(("GET",))
_HEALTH = ("GET", "HEAD")
RULES = {
    "/predict": Rule(("POST",), body=True, shed=True),
    "/explain": Rule(("POST",), body=True, shed=True),
    "/what-if": Rule(("POST",), body=True, shed=True),
    "/recommend": Rule(("POST",), body=True, shed=True),
    "/similar": Rule(("POST",), body=True, shed=True),
    "/model": _LOOK,
    "/page": Rule(("GET",), browsed=True),
    "/customer": Rule(("GET", "POST"), shed=True, browsed=True),
    "/docs": _LOOK,
    "/openapi.json": _LOOK,
    f"{_STATIC}/swagger-ui-bundle.js": _LOOK,
    f"{_STATIC}/swagger-ui.css": _LOOK,
    "/metrics": _LOOK,
    "/healthz": Rule(_HEALTH),
    "/livez": Rule(_HEALTH, open=True),
    "/readyz": Rule(_HEALTH, open=True),
}
"""Every path that answers, of ours and of BentoML's; the guard lets no other through."""

SETTINGS: dict[str, Any] = {
    "workers": 1,
    # BentoML's metrics label raw paths and grow without bound; its access log, tracing and limits
    # stand before the guard. Its time-out cannot be off, so it comes after the guard's deadline.
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": ".*"},
    "traffic": {"timeout": Limits().seconds + 5},
    # To score a few rows costs less than to wake another thread, and on a busy machine XGBoost's
    # threads wait for each other. Set in the environment, another number wins.
    "envs": [{"name": "OMP_NUM_THREADS", "value": "1"}],
}
"""Options of ``bentoml.service`` for each service."""


class Pin(BaseModel):
    """Argument of a Bento: which stored model it serves."""

    model: str = "unpinned:none"
    """Exact tag; set by ``package`` when the Bento is built."""


JSON = "application/json"


@dataclass(frozen=True)
class Route:
    """One documented route; with a schema it takes POST, else GET."""

    path: str
    handler: Callable[[Request], Awaitable[Response]]
    summary: str
    reply: type[BaseModel]
    schema: dict[str, Any] | None = None
    """JSON schema of the request's body."""
    example: Any = None
    """A body that is answered."""


class RawRoute(APIRoute):
    """A route that hands the raw request to its handler; the rest of it is documentation."""

    def get_route_handler(self) -> Any:
        """Return the handler itself, without FastAPI's parsing of parameters."""
        return self.endpoint


def guarded(app: ASGIApp) -> Guard:
    """The guard with our rules and the installation's API keys; read when the server starts."""
    try:
        hashes = keys.read_hashes(Workspace.locate().keys)
    except ConfigError:
        # Servers take an error here for "no start-up events" and go on. open_release() meets the
        # same error where it does end the worker; until then no key fits.
        hashes = ()
    return Guard(app, RULES, hashes, at_end=_close_watches)


def _close_watches() -> None:
    """Write what waits for the prediction log."""
    from serving.watch import close_all  # brings numpy; here it is loaded already

    close_all()


def new_app() -> FastAPI:
    """An app without routes; importing a service makes one and reads nothing."""
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.watch = None
    app.router.route_class = RawRoute
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(Exception, _failed)
    return app


ROUTES: dict["Kind", str] = {
    "event": "serving.endpoints",
    "amount": "serving.endpoints",
    "segments": "serving.segment_routes",
    "lists": "serving.list_routes",
    "lifecycle": "serving.lifecycle_routes",
}
"""Kind of answer -> module whose ``routes(bundle, release, lookup)`` lists how it is served."""


def make_app(bundle: "Loaded", release: "Release", lookup: "Lookup | None" = None) -> FastAPI:
    """The app of one released bundle; with a ``lookup`` customers can be asked for by id."""
    app = new_app()
    add_routes(app, bundle, release, lookup)
    return app


def open_release(app: FastAPI, folder: Path, task: str | None = None) -> None:
    """Verify and load the release in ``folder`` and give ``app`` its routes.

    Parameters
    ----------
    task
        The only question that the service answers; None = any.

    Raises
    ------
    ConfigError
        If API keys are configured and cannot be read.
    DataError
        If the release is not what was signed, or answers another question than ``task``.
    """
    # Brings numpy, scipy and xgboost: not for the process that only starts this one.
    from serving import release
    from serving.histories import Histories
    from serving.lookup import open_lookup
    from serving.watch import Watch
    from training.supervised.bundle import Bundle

    place = Workspace.locate()
    keys.read_hashes(place.keys)
    bundle, statement = release.load(folder, place.keys)
    found = bundle.answer.task
    if task is not None and found != task:
        raise DataError(f"{folder}: the bundle answers {found!r}, this service {task!r}")
    asks, lookup = bundle.answer, None
    if asks.columns:
        histories = Histories(statement.posted, asks.columns) if statement.posted else None
        lookup = open_lookup(place, asks.source, asks.columns, histories)
    add_routes(app, bundle, statement, lookup)
    if isinstance(bundle, Bundle):
        app.state.watch = Watch.of(place, bundle, statement)


def add_routes(
    app: FastAPI, bundle: "Loaded", release: "Release", lookup: "Lookup | None" = None
) -> None:
    """Give ``app`` the routes of one released bundle: those of its kind, and the docs page."""
    from serving.pages import Pages
    from serving.replies import REFUSALS, RefusalReply
    from training.supervised.bundle import Bundle

    answer = bundle.answer
    routes: list[Route] = import_module(ROUTES[answer.kind]).routes(bundle, release, lookup)
    paths = ", ".join(route.path.strip("/") for route in routes if route.schema)
    app.title, app.version = f"{release.model}: {paths}", str(release.version)
    app.description = (
        f"{answer.question} Answers come from version {release.version}, approved by "
        f"{release.reviewer}; it learned from what had happened by {answer.cutoff}. /model says "
        "what is served and what it needs, /metrics counts requests for Prometheus, /readyz tells "
        "whether the service answers."
    )
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": RefusalReply, "description": said} for status, said in REFUSALS.items()
    }
    for route in routes:
        extra: dict[str, Any] | None = None
        refused: dict[int | str, dict[str, Any]] = {401: errors[401], 500: errors[500]}
        if route.schema:
            content = {JSON: {"schema": route.schema}}
            extra, refused = {"requestBody": {"required": True, "content": content}}, errors
        app.add_api_route(
            route.path,
            route.handler,
            methods=["POST" if route.schema else "GET"],
            summary=route.summary,
            responses={200: {"model": route.reply}, **refused},
            openapi_extra=extra,
        )
    if isinstance(bundle, Bundle):
        Pages(bundle, release, lookup).add(app)
    app.add_api_route("/docs", _docs, methods=["GET"], include_in_schema=False)
    app.add_api_route("/metrics", _metrics, methods=["GET"], include_in_schema=False)

    def described() -> dict[str, Any]:
        """FastAPI's description with examples, from which it would drop every null."""
        spec = FastAPI.openapi(app)
        for route in routes:
            if route.schema:
                sent = spec["paths"][route.path]["post"]["requestBody"]["content"][JSON]
                sent["example"] = route.example
        return spec

    app.openapi = described  # type: ignore[method-assign]


async def _docs(request: Request) -> Response:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=request.app.title,
        swagger_js_url=f"{_STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{_STATIC}/swagger-ui.css",
        swagger_favicon_url="data:,",
    )


async def _metrics(request: Request) -> Response:
    """What the guard counted, and what the model answered."""
    counted: Metrics = request.scope["state"]["metrics"]
    return Response(counted.text(request.app.state.watch), media_type=counted.content_type)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    body = error.body(request.scope.get("state", {}).get("request_id", ""))
    return Response(body, status_code=error.status, media_type="application/json")


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return await _refused(request, Refused(error.status_code, "refused", error.detail))


async def _failed(request: Request, _: Exception) -> Response:
    return await _refused(request, FAILED)
