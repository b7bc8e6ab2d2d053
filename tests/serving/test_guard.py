"""The guard alone: limits while streaming, shedding, deadlines, failures, request ids."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from serving.guard import SHED_SECONDS, Guard, Limits
from serving.refused import Refused
from tests.serving.asgi import JSON, Reply, ask, ask_async
from tests.serving.echo import RULES, Echo, refused, stream


def test_body_is_capped_while_it_streams() -> None:
    """The byte over the limit ends it: what follows is never read, and the app never asked."""
    app = Echo()
    guard = Guard(app, RULES, limits=Limits(body_bytes=100))
    assert stream(guard, [b"x" * 50, b"x" * 50]).body == b"100"
    chunks = [b"x" * 50, b"x" * 51, *[b"x" * 1000] * 50]
    reply = stream(guard, chunks)
    assert refused(reply) == (413, "body_too_large")
    assert app.bodies == [b"x" * 100]


def test_rest_of_a_refused_body_is_not_read() -> None:
    """Reading stops at the limit."""
    guard = Guard(Echo(), RULES, limits=Limits(body_bytes=100))
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    async def send(_: Any) -> None:
        return

    scope = {"type": "http", "method": "POST", "path": "/work", "headers": list(JSON)}
    asyncio.run(guard(scope, receive, send))
    assert read == 2


def test_declared_length_is_refused_before_reading() -> None:
    """A length over the limit costs no read."""
    guard = Guard(Echo(), RULES, limits=Limits(body_bytes=100))

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [*JSON, (b"content-length", b"101")]
    asyncio.run(
        guard(
            {"type": "http", "method": "POST", "path": "/work", "headers": headers}, receive, send
        )
    )
    assert sent[0]["status"] == 413


def test_client_that_leaves_is_not_answered() -> None:
    """A connection closed within the body ends the request; the app never sees half of it."""
    app = Echo()
    guard = Guard(app, RULES)
    left = False

    async def receive() -> dict[str, Any]:
        nonlocal left
        if left:
            return {"type": "http.disconnect"}
        left = True
        return {"type": "http.request", "body": b"half", "more_body": True}

    async def send(_: Any) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": "/work", "headers": list(JSON)}
    asyncio.run(guard(scope, receive, send))
    assert app.bodies == []
    assert guard.metrics.in_flight == 0


def test_more_than_the_limit_is_shed_soon() -> None:
    """With two at work the third gets 503 before its body is read; health answers."""
    guard = Guard(Echo(seconds=0.2), RULES, limits=Limits(in_flight=2))

    async def crowd() -> tuple[list[Reply], Reply, Reply, Reply]:
        async with asyncio.TaskGroup() as group:
            work = [
                group.create_task(ask_async(guard, "POST", "/work", [b"{}"], JSON))
                for _ in range(2)
            ]
            await asyncio.sleep(0.05)
            begun = asyncio.get_running_loop().time()
            third = await ask_async(guard, "POST", "/work", [b"{}"] * 9, JSON, slow=5.0)
            # Soon, yet not so soon that who asks again at once could do so all the time.
            assert SHED_SECONDS <= asyncio.get_running_loop().time() - begun < 0.1
            health = group.create_task(ask_async(guard, "GET", "/livez"))
        after = await ask_async(guard, "POST", "/work", [b"{}"], JSON)
        return [task.result() for task in work], third, health.result(), after

    work, third, health, after = asyncio.run(crowd())
    assert [reply.status for reply in work] == [200, 200]
    assert refused(third) == (503, "overloaded")
    assert third.headers["retry-after"] == "1"
    assert (health.status, after.status) == (200, 200)
    assert "perennial_shed_total 1.0" in guard.metrics.text().decode()
    assert guard.metrics.in_flight == 0


def test_deadline_ends_slow_work() -> None:
    """Work past the deadline is cancelled, told as 504, and gives its place back."""
    app = Echo(seconds=5.0)
    guard = Guard(app, RULES, limits=Limits(seconds=0.1))
    reply = stream(guard, [b"{}"])
    assert refused(reply) == (504, "deadline")
    assert reply.headers["retry-after"] == "1"
    assert app.cancelled
    assert guard.metrics.in_flight == 0


def test_slow_body_is_told_as_such() -> None:
    """A body that trickles past the deadline is 408, and the app is never asked."""
    app = Echo()
    reply = stream(Guard(app, RULES, limits=Limits(seconds=0.1)), [b"x"] * 50, slow=0.02)
    assert refused(reply) == (408, "body_too_slow")
    assert app.bodies == []


def test_a_timeout_of_the_app_is_not_the_deadline() -> None:
    """TimeoutError from inside is a failure like any other."""
    assert refused(stream(Guard(Echo(error=TimeoutError("x")), RULES), [b"{}"])) == (
        500,
        "internal_error",
    )


def test_failure_is_500_without_detail(caplog: pytest.LogCaptureFixture) -> None:
    """The reply says nothing of the error; the log names type, place and request id, no value."""
    guard = Guard(Echo(error=ValueError("customer 31415 is Alice")), RULES)
    with caplog.at_level(logging.DEBUG):
        reply = stream(guard, [b"{}"])
    assert refused(reply) == (500, "internal_error")
    line = next(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert "ValueError at" in line
    assert "echo.py" in line
    assert reply.json["request_id"] in line
    assert "Alice" not in reply.body.decode() + caplog.text


def test_failure_after_the_reply_began_is_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    """A second start of the reply would break the connection for the next request."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("x")

    reply = ask(Guard(broken, RULES), "GET", "/look")
    assert (reply.status, reply.body) == (200, b"")
    assert "KeyError" in caplog.text


def test_refusal_of_the_app_keeps_its_field() -> None:
    """What a handler refuses leaves in the same shape."""
    guard = Guard(Echo(error=Refused(422, "odd", "says why", "rows[2].x")), RULES)
    reply = stream(guard, [b"{}"])
    assert refused(reply) == (422, "odd")
    assert reply.json["field"] == "rows[2].x"


@pytest.mark.parametrize("sent", [b"a", b"A-1.b_c", b"x" * 64])
def test_safe_request_id_is_kept(sent: bytes) -> None:
    """It comes back as a header and reaches the app."""
    app = Echo()
    reply = ask(Guard(app, RULES), "GET", "/look", headers=[(b"x-request-id", sent)])
    assert reply.headers["x-request-id"] == sent.decode()
    assert app.states == [{"request_id": sent.decode(), "caller": ""}]


@pytest.mark.parametrize(
    "sent", [b"", b"x" * 65, b"a b", b"a\nb", b"alice@example.com", b"<script>", b"\xff", b"a/b"]
)
def test_unsafe_request_id_is_replaced(sent: bytes) -> None:
    """Another one is made, differently each time."""
    guard = Guard(Echo(), RULES)
    made = {
        ask(guard, "GET", "/look", headers=[(b"x-request-id", sent)]).headers["x-request-id"]
        for _ in range(3)
    }
    assert len(made) == 3
    assert all(len(text) == 24 and text.isalnum() for text in made)


def test_requests_of_one_connection_do_not_share_state() -> None:
    """Servers may hand the same state to several requests."""
    app, state = Echo(), {"of": "the server"}
    guard = Guard(app, RULES)

    async def send(_: Any) -> None:
        return

    for _ in range(2):
        scope = {"type": "http", "method": "GET", "path": "/look", "headers": [], "state": state}
        asyncio.run(guard(scope, send, send))
    assert app.states[0]["request_id"] != app.states[1]["request_id"]
    assert state == {"of": "the server"}


def test_websockets_are_closed_and_lifespan_passes() -> None:
    """Only HTTP is served; start and stop of the app go through."""
    app = Echo()
    guard = Guard(app, RULES)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard({"type": "websocket", "path": "/work"}, send, send))
    asyncio.run(guard({"type": "lifespan"}, send, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert app.states == ["lifespan"]


def test_the_end_is_told_once_all_is_answered() -> None:
    """After the app has shut down, and before the server hears of it."""
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in ("startup", "shutdown"):
            heard.append(step)
            await send({"type": f"lifespan.{step}.complete"})

    async def send(message: Any) -> None:
        heard.append(message["type"])

    guard = Guard(app, RULES, at_end=lambda: heard.append("end"))
    asyncio.run(guard({"type": "lifespan"}, send, send))
    steps = ["startup", "lifespan.startup.complete", "shutdown", "end"]
    assert heard == [*steps, "lifespan.shutdown.complete"]


def test_large_bodies_are_shed_before_small_ones() -> None:
    """A path with a limit on bytes at work refuses more of them, and takes one of any size."""
    rules = {**RULES, "/work": replace(RULES["/work"], most=100)}
    app = Echo(seconds=0.2)
    guard = Guard(app, rules)

    async def asked(size: int) -> int:
        sized = [*JSON, (b"content-length", str(size).encode())]
        return (await ask_async(guard, "POST", "/work", [b" " * size], sized)).status

    async def together(*sizes: int) -> list[int]:
        return await asyncio.gather(*map(asked, sizes))

    assert asyncio.run(together(60, 30, 20, 5)) == [200, 200, 503, 200]
    assert asyncio.run(together(5_000, 1)) == [200, 503]
    assert asyncio.run(together(90)) == [200]


def test_nobody_waits_long_for_a_busy_path() -> None:
    """While the oldest has waited too long others are refused; a body on its way blocks nobody."""
    rules = {**RULES, "/work": replace(RULES["/work"], wait=0.05)}
    guard = Guard(Echo(seconds=0.3), rules)

    async def asked(after: float, sent: float = 0.0) -> int:
        await asyncio.sleep(after)
        unread = [{"type": "http.request", "body": b"{}", "more_body": False}]

        async def receive() -> Any:
            await asyncio.sleep(sent)
            return unread.pop()

        statuses: list[int] = []

        async def send(message: Any) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        scope = {"type": "http", "method": "POST", "path": "/work", "headers": JSON}
        await guard(scope, receive, send)
        return statuses[0]

    async def together(*requests: tuple[float, float]) -> list[int]:
        return await asyncio.gather(*(asked(*request) for request in requests))

    assert asyncio.run(together((0, 0), (0.01, 0), (0.15, 0))) == [200, 200, 503]
    assert asyncio.run(together((0, 0.2), (0.15, 0))) == [200, 200]
    assert asyncio.run(together((0, 0))) == [200]
