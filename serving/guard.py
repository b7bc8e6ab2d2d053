"""The door in front of every route: keys, limits, deadlines, shedding, counts, audit. Pure ASGI.

It knows paths and bytes and nothing of models. Whatever it refuses costs neither JSON parsing nor
routing, and leaves as ``{code, message, field, request_id}``.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import body
from serving.access import ANYBODY, Access, Caller
from serving.audit import line
from serving.backlog import Backlog, Entered
from serving.metrics import OTHER, Metrics
from serving.refused import Refused, failed, leaving, no_path
from serving.tracing import Spans

logger = logging.getLogger(__name__)

READY = "/readyz"
METRICS = "/metrics"
"""The app answers it and finds there what the guard has counted, in its state."""
SHED_SECONDS = 0.005
"""How long a refusal for overload takes: clients that ask again at once, whatever it says, would
take the core from those who are let in."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ASK_PERSON = b'Basic realm="perennial", charset="UTF-8"'


@dataclass(frozen=True)
class Rule:
    """What the guard lets through on one path."""

    methods: tuple[str, ...]
    scope: str = ""
    """What a caller must be allowed to do; empty = nothing but to be known."""
    body: bool = False
    """Whether requests carry a JSON body."""
    open: bool = False
    """Whether it answers without a key."""
    browsed: bool = False
    """Whether it is a page: browsers are asked for a key, and post forms."""
    shed: bool = False
    """Whether its requests count against the limit of requests in flight."""
    most: int | None = None
    """Bytes of bodies that may be at work together, where work grows with them; None = any."""
    wait: float | None = None
    """Seconds that the oldest may have waited when another is let in; None = any."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what one request and all of them may use."""

    body_bytes: int = 1 << 20
    header_bytes: int = 16 << 10
    in_flight: int = 64
    """Requests at work at the same time; more are refused."""
    seconds: float = 10.0
    """From the first byte of a request to its answer."""


class Guard:
    """ASGI middleware that lets through what its rules allow.

    Parameters
    ----------
    app
        The application behind it.
    rules
        Path -> rule; any other path is 404. Paths hold no ids, so they are the metrics' labels too.
    access
        Who may ask for what; None = nobody is asked who they are.
    limits
        Bounds on size, time and number of requests.
    at_end
        Called when all requests are answered and the process is about to end.
    audit
        Takes one line for each request but those to open paths; None = no audit.
    spans
        Makes a span of each request; None = no tracing.

    Attributes
    ----------
    leaving
        Whether the service is about to end: it is not ready any more, and replies ask for their
        connections to be closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        rules: Mapping[str, Rule],
        access: Access | None = None,
        limits: Limits | None = None,
        at_end: Callable[[], None] | None = None,
        audit: Callable[[bytes], object] | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.app, self.rules, self.access = app, rules, access
        self.at_end, self.audit, self.spans, self.leaving = at_end, audit, spans, False
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self._backlogs: dict[str, Backlog] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it here; whatever happens is counted."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        started = time.perf_counter()
        path = scope["path"] if scope["path"] in self.rules else OTHER
        request_id = _request_id(scope)
        # A fresh dict: servers may hand all requests of a connection the same state.
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode()), (b"cache-control", b"no-store")]
                extra.append((b"x-content-type-options", b"nosniff"))
                if self.leaving:
                    extra.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        try:
            await self._admit(scope, receive, answer)
        except Refused as refused:
            if status == 0:
                await _reply(answer, refused.status, refused.body(request_id), refused.headers)
        except body.Gone:
            status = 499
        except Exception as error:
            logger.error("request %s on %s failed: %s", request_id, path, _place(error))
            if status == 0:
                await _reply(answer, 500, failed().body(request_id))
        finally:
            seconds = time.perf_counter() - started
            self.metrics.observe(path, status or 500, seconds)
            if self.audit and (path == OTHER or not self.rules[path].open):
                self.audit(line(scope, path, status, seconds))
            if self.spans:
                self.spans.add(scope, path, status or 500, seconds)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            # uvicorn then ends the process by the signal it was sent.
            for close in (self.at_end, self.spans and self.spans.close):
                if message["type"] == "lifespan.shutdown.complete" and close:
                    close()
            await send(message)

        await self.app(scope, receive, closing)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > self.limits.header_bytes:
            raise Refused(
                431, "headers_too_large", f"headers are limited to {self.limits.header_bytes} bytes"
            )
        rule = self.rules.get(scope["path"])
        caller = self._caller(rule, headers)
        scope["state"]["caller"] = caller.name
        if rule is None:
            raise no_path()
        if rule.scope and rule.scope not in caller.scopes:
            raise Refused(403, "forbidden", f"this key or token lacks the scope {rule.scope!r}")
        if self.leaving and scope["path"] == READY:
            raise leaving()
        if scope["method"] not in rule.methods:
            allowed = ", ".join(rule.methods)
            text = f"this path takes {allowed}"
            raise Refused(405, "method_not_allowed", text, headers=((b"allow", allowed.encode()),))
        if scope["path"].endswith(METRICS):
            scope["state"]["metrics"] = self.metrics
        form = rule.browsed and scope["method"] == "POST"
        if rule.body or form:
            body.check_headers(headers, body.FORM if form else body.JSON, self.limits.body_bytes)
        if form:
            rule = replace(rule, body=True)
        if not rule.shed:
            await self._run(rule, scope, receive, send)
            return
        size, path = body.declared(headers, self.limits.body_bytes), scope["path"]
        backlog = self._backlogs.setdefault(path, Backlog(rule.most, rule.wait))
        if self.metrics.in_flight >= self.limits.in_flight or backlog.full(size):
            self.metrics.shed += 1
            await asyncio.sleep(SHED_SECONDS)
            text = "too many requests are at work; try again in a second"
            raise Refused(503, "overloaded", text, headers=((b"retry-after", b"1"),))
        self.metrics.in_flight += 1
        entered = backlog.enter(size)
        try:
            await self._run(rule, scope, receive, send, entered)
        finally:
            self.metrics.in_flight -= 1
            backlog.inside.discard(entered)

    def _caller(self, rule: Rule | None, headers: Sequence[tuple[bytes, bytes]]) -> Caller:
        if self.access is None or (rule is not None and rule.open):
            return ANYBODY
        caller = self.access.caller(headers)
        if caller is None:
            text = "a key or token is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
            ways = _ASK_PERSON if rule and rule.browsed else b"Bearer"
            raise Refused(401, "unauthorized", text, headers=((b"www-authenticate", ways),))
        return caller

    async def _run(
        self, rule: Rule, scope: Scope, receive: Receive, send: Send,
        entered: Entered | None = None,
    ) -> None:  # fmt: skip
        arrived = not rule.body
        try:
            async with asyncio.timeout(self.limits.seconds) as deadline:
                if rule.body:
                    whole = await body.read(receive, self.limits.body_bytes)
                    receive = body.replayed(whole, receive)
                    arrived = True
                if entered:
                    entered.arrived()
                await self.app(scope, receive, send)
        except TimeoutError:
            if not deadline.expired():
                raise
            if not arrived:
                raise Refused(408, "body_too_slow", "the body did not arrive in time") from None
            text = "the answer was not ready in time; try again, or send fewer rows"
            raise Refused(504, "deadline", text, headers=((b"retry-after", b"1"),)) from None


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return os.urandom(12).hex()


def _place(error: BaseException) -> str:
    """Type and line of an error; its text may hold a value, so it is left out."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown line"
    return f"{type(error).__name__} at {where}"


async def _reply(
    send: Send,
    status: int,
    said: bytes,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    given: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(said)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": said})
