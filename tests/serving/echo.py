"""An app of no meaning behind a guard, to look at the guard alone."""

import asyncio
import hashlib
from typing import Any

from serving.access import Access
from serving.guard import METRICS, Rule
from serving.keys import ALL
from tests.serving.asgi import JSON, Reply, ask_async

RULES = {
    "/work": Rule(("POST",), body=True, shed=True),
    "/look": Rule(("GET",)),
    "/metrics": Rule(("GET",)),
    "/livez": Rule(("GET", "HEAD"), open=True),
}
KEY = "a-long-key"
HASHES = [hashlib.sha256(text.encode()).digest() for text in (KEY, "another-key")]
ACCESS = Access(dict.fromkeys(HASHES, ALL))


class Echo:
    """An app that tells what reached it, after waiting if asked to."""

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds, self.error = seconds, error
        self.bodies: list[bytes] = []
        self.cancelled = False
        self.states: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 200 with the length of the body."""
        if scope["type"] == "lifespan":
            self.states.append("lifespan")
            return
        if scope["path"] == METRICS:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["state"]["metrics"].text()})
            return
        self.states.append(scope["state"])
        message = await receive() if scope["method"] == "POST" else {}
        self.bodies.append(message.get("body", b""))
        assert not message.get("more_body"), "the guard hands the body over whole"
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(self.bodies[-1])})


def stream(app: Any, chunks: list[bytes], headers: Any = JSON, slow: float = 0.0) -> Reply:
    """POST a body that arrives in pieces."""
    return asyncio.run(ask_async(app, "POST", "/work", chunks, headers, slow))


def refused(reply: Reply) -> tuple[int, str]:
    """Status and code of an error reply in the one shape."""
    assert set(reply.json) == {"code", "message", "field", "request_id"}
    assert reply.headers["x-request-id"] == reply.json["request_id"]
    return reply.status, reply.json["code"]
