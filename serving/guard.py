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

from serving.access import ANYBODY, Access, Caller
from serving.audit import line
from serving.backlog import Backlog, Entered
from serving.metrics import OTHER, Metrics
from serving.refused import FAILED, LEAVING, NO_PATH, Refused
from serving.tracing import Spans

logger = logging.getLogger(__name__)

READY = "/readyz"
METRICS = "/metrics"
"""The app answers it and finds there what the guard has counted, in its state."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(rb"application/json(\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_ASK_PERSON = b'Basic realm="perennial", charset="UTF-8"'
_FORM = re.compile(rb"application/x-www-form-urlencoded(\s*;.*)?", re.IGNORECASE)


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
    """Requests at work at the same time; more are refused at once."""
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

            async def last(message: Message) -> None:
                # uvicorn then ends the process by the signal it was sent.
                for close in (self.at_end, self.spans and self.spans.close):
                    if message["type"] == "lifespan.shutdown.complete" and close:
                        close()
                await send(message)

            await self.app(scope, receive, last)
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
        except _Gone:
            status = 499
        except Exception as error:
            logger.error("request %s on %s failed: %s", request_id, path, _place(error))
            if status == 0:
                await _reply(answer, 500, FAILED.body(request_id))
        finally:
            seconds = time.perf_counter() - started
            self.metrics.observe(path, status or 500, seconds)
            if self.audit and (path == OTHER or not self.rules[path].open):
                self.audit(line(scope, path, status, seconds))
            if self.spans:
                self.spans.add(scope, path, status or 500, seconds)

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
            raise NO_PATH
        if rule.scope and rule.scope not in caller.scopes:
            raise Refused(403, "forbidden", f"this key or token lacks the scope {rule.scope!r}")
        if self.leaving and scope["path"] == READY:
            raise LEAVING
        if scope["method"] not in rule.methods:
            allowed = ", ".join(rule.methods)
            text = f"this path takes {allowed}"
            raise Refused(405, "method_not_allowed", text, headers=((b"allow", allowed.encode()),))
        if scope["path"].endswith(METRICS):
            scope["state"]["metrics"] = self.metrics
        form = rule.browsed and scope["method"] == "POST"
        if rule.body or form:
            self._check_body_headers(headers, _FORM if form else _JSON)
        if form:
            rule = replace(rule, body=True)
        if not rule.shed:
            await self._run(rule, scope, receive, send)
            return
        size, path = self._declared(headers), scope["path"]
        backlog = self._backlogs.setdefault(path, Backlog(rule.most, rule.wait))
        if self.metrics.in_flight >= self.limits.in_flight or backlog.full(size):
            self.metrics.shed += 1
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

    def _check_body_headers(
        self, headers: Sequence[tuple[bytes, bytes]], kind: re.Pattern[bytes]
    ) -> None:
        kinds = [value.strip() for name, value in headers if name == b"content-type"]
        if len(kinds) != 1 or not kind.fullmatch(kinds[0]):
            wanted = "application/json in UTF-8" if kind is _JSON else "a form of the page"
            text = f"the body must be sent as {wanted}"
            raise Refused(415, "unsupported_media_type", text)
        if any(name == b"content-encoding" for name, _ in headers):
            raise Refused(
                415, "unsupported_encoding", "the body must be sent without content-encoding"
            )
        declared = [value for name, value in headers if name == b"content-length"]
        if any(not v.isdigit() or len(v) > 12 or int(v) > self.limits.body_bytes for v in declared):
            raise self._too_large()

    def _declared(self, headers: Sequence[tuple[bytes, bytes]]) -> int:
        """Bytes of the body; as many as may be where they are not said."""
        return next((int(v) for n, v in headers if n == b"content-length"), self.limits.body_bytes)

    def _too_large(self) -> Refused:
        return Refused(
            413, "body_too_large", f"the body is limited to {self.limits.body_bytes} bytes"
        )

    async def _run(
        self, rule: Rule, scope: Scope, receive: Receive, send: Send,
        entered: Entered | None = None,
    ) -> None:  # fmt: skip
        arrived = not rule.body
        try:
            async with asyncio.timeout(self.limits.seconds) as deadline:
                if rule.body:
                    receive = _replay(await self._body(receive), receive)
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

    async def _body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.limits.body_bytes:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)


class _Gone(Exception):
    """The client left before its body was whole."""


def _replay(body: bytes, receive: Receive) -> Receive:
    unread = [body]

    async def again() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return again


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
    body: bytes,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    given: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body})
