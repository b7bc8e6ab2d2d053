"""What all services share: routes over one released bundle, behind one guard.

Handlers take the raw request and declare their OpenAPI: they are documented like any other FastAPI
route, and a request pays for one parse, one prediction and one ``dumps``.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from features.errors import ConfigError, DataError
from features.settings import Workspace
from serving.access import Access, open_access
from serving.audit import open_audit
from serving.guard import READY, Guard, Limits, Rule
from serving.keys import METRICS, PREDICT, READ
from serving.refused import no_path
from serving.tracing import open_spans, wanted

if TYPE_CHECKING:
    from serving.lookup import Lookup
    from serving.metrics import Metrics
    from serving.release import Release
    from training.bundle import Loaded
    from training.contract import Kind

_STATIC = "/static_content"
"""Where BentoML keeps the files of Swagger UI, so that the docs page needs no internet."""

_LOOK = Rule(("GET",), READ)
_ASK = Rule(("POST",), PREDICT, body=True, shed=True)
# One thread explains: 768 KiB are some 500 rows of 40 columns.
_EXPLAIN = replace(_ASK, most=768 << 10, wait=0.2)
_HEALTH = ("GET", "HEAD")
_PAGE_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
RULES = {
    **dict.fromkeys(("/predict", "/recommend", "/similar"), _ASK),
    **dict.fromkeys(("/explain", "/what-if"), _EXPLAIN),
    "/model": _LOOK,
    "/page": Rule(("GET",), READ, browsed=True),
    "/customer": Rule(("GET", "POST"), PREDICT, shed=True, browsed=True),
    "/docs": Rule(("GET",), READ, browsed=True),
    "/openapi.json": _LOOK,
    **{f"{_STATIC}/{name}": _LOOK for name in _PAGE_FILES},
    "/metrics": Rule(("GET",), METRICS),
    "/healthz": Rule(_HEALTH),
    "/livez": Rule(_HEALTH, open=True),
    READY: Rule(_HEALTH, open=True),
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


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """One documented route; with a schema it takes POST, else GET."""

    path: str
    handler: Handler
    summary: str
    reply: type[BaseModel]
    schema: dict[str, Any] | None = None
    """JSON schema of the request's body."""
    example: Any = None
    """A body that is answered."""
    sentences: bool = False
    """Whether the reply has sentences, in a language that may be asked for."""


class App(FastAPI):
    """Handlers by path; FastAPI describes them.

    No path holds an id, so that one look-up finds a handler: the layers that FastAPI puts before
    one cost as much as a prediction. Its errors are the guard's to tell.
    """

    def __init__(self) -> None:
        super().__init__(docs_url=None, redoc_url=None, redirect_slashes=False)
        self.handlers: dict[str, Handler] = {
            "/docs": _docs,
            "/metrics": _metrics,
            "/healthz": _alive,
            "/livez": _alive,
            **{f"{_STATIC}/{name}": _static for name in _PAGE_FILES},
        }
        self.state.watch = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the handler of its path."""
        if scope["type"] != "http" or scope["path"] == self.openapi_url:
            await super().__call__(scope, receive, send)
            return
        handler = self.handlers.get(scope["path"])
        if handler is None:
            raise no_path()
        scope["app"] = self
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)


def guarded(app: ASGIApp, rules: Mapping[str, Rule] = RULES) -> Guard:
    """The guard with our rules and the installation's keys; read when the server starts."""
    spans = None
    try:
        access, spans = open_access(Workspace.locate().keys), open_spans()
    except ConfigError:
        # Servers take an error here for "no start-up events" and go on. open_release() meets the
        # same error where it does end the worker; until then no key fits.
        access = Access({})
    return Guard(app, rules, access, at_end=_close_watches, audit=open_audit(), spans=spans)


def _close_watches() -> None:
    """Write what waits for the prediction log."""
    from serving.watch import close_all  # brings numpy; here it is loaded already

    close_all()


def new_app() -> App:
    """An app without routes; importing a service makes one and reads nothing."""
    return App()


ROUTES: dict["Kind", str] = {
    "event": "serving.endpoints",
    "amount": "serving.endpoints",
    "segments": "serving.segment_routes",
    "lists": "serving.list_routes",
    "lifecycle": "serving.lifecycle_routes",
}
"""Kind of answer -> module whose ``routes(bundle, release, lookup)`` lists how it is served."""


def make_app(bundle: "Loaded", release: "Release", lookup: "Lookup | None" = None) -> App:
    """The app of one released bundle; with a ``lookup`` customers can be asked for by id."""
    app = new_app()
    add_routes(app, bundle, release, lookup)
    return app


def open_release(app: App, folder: Path, task: str | None = None) -> "Loaded":
    """Verify and load the release in ``folder``, give ``app`` its routes, return the bundle.

    Parameters
    ----------
    task
        The only question that the service answers; None = any.

    Raises
    ------
    ConfigError
        If keys are configured and cannot be read.
    DataError
        If the release is not what was signed, or answers another question than ``task``.
    """
    # Brings numpy, scipy and xgboost: not for the process that only starts this one.
    from serving import release
    from serving.health import Health
    from serving.histories import Histories
    from serving.lookup import open_lookup
    from serving.watch import Watch

    place = Workspace.locate()
    open_access(place.keys)
    wanted()
    bundle, statement = release.load(folder, place.keys)
    found = bundle.answer.task
    if task is not None and found != task:
        raise DataError(f"{folder}: the bundle answers {found!r}, this service {task!r}")
    asks, lookup = bundle.answer, None
    if asks.columns:
        histories = Histories(statement.posted, asks.columns) if statement.posted else None
        lookup = open_lookup(place, asks.source, asks.columns, histories)
    add_routes(app, bundle, statement, lookup)
    learned = date.fromisoformat(asks.cutoff)
    app.state.health = Health(folder, place.keys, learned, lookup)
    app.handlers[READY] = app.state.health.ready
    app.state.watch = Watch.of(place, bundle, statement)
    return bundle


def add_routes(
    app: App, bundle: "Loaded", release: "Release", lookup: "Lookup | None" = None
) -> None:
    """Give ``app`` the routes of one released bundle: those of its kind, and the docs page."""
    from serving.pages import Pages

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
    for route in routes:
        _add_described(app, route)
    app.state.pages = Pages(bundle, release, lookup)
    app.handlers |= app.state.pages.handlers

    def described() -> dict[str, Any]:
        """FastAPI's description with examples, from which it would drop every null."""
        spec = FastAPI.openapi(app)
        for route in routes:
            if route.schema:
                sent = spec["paths"][route.path]["post"]["requestBody"]["content"][JSON]
                sent["example"] = route.example
        return spec

    app.openapi = described  # type: ignore[method-assign]
    known = {route.path for route in routes}
    for path, handler in app.handlers.items():  # as routes for BentoML, which mounts the app
        if path not in known:
            methods = list(RULES[path].methods)
            app.add_api_route(path, handler, methods=methods, include_in_schema=False)


def _add_described(app: App, route: Route) -> None:
    """Add a route with its description for OpenAPI."""
    from serving import asking
    from serving.replies import REFUSALS, RefusalReply

    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": RefusalReply, "description": said}
        for status, said in REFUSALS.items()
        if route.schema or status in (401, 500)
    }
    extra: dict[str, Any] = {}
    if route.schema:
        extra["requestBody"] = {"required": True, "content": {JSON: {"schema": route.schema}}}
    if route.sentences:
        extra["parameters"] = [asking.DESCRIBED]
    app.handlers[route.path] = route.handler
    app.add_api_route(
        route.path,
        route.handler,
        methods=["POST" if route.schema else "GET"],
        summary=route.summary,
        responses={200: {"model": route.reply}, **errors},
        openapi_extra=extra,
    )


async def _docs(request: Request) -> Response:
    return get_swagger_ui_html(
        openapi_url="openapi.json",  # relative: the app may answer below a name
        title=request.app.title,
        swagger_js_url=f"{_STATIC[1:]}/swagger-ui-bundle.js",
        swagger_css_url=f"{_STATIC[1:]}/swagger-ui.css",
        swagger_favicon_url="data:,",
    )


async def _metrics(request: Request) -> Response:
    """What the guard counted, and what the model answered."""
    counted: Metrics = request.scope["state"]["metrics"]
    return Response(counted.text(request.app.state.watch), media_type=counted.content_type)


async def _alive(_: Request) -> Response:
    return Response(b"\n", media_type="text/plain")


async def _static(request: Request) -> Response:
    """A file of the docs page, from the package that brings it."""
    package = find_spec("bentoml")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "_internal" / "server" / "static_content"
    return FileResponse(folder / request.url.path.rpartition("/")[2])
