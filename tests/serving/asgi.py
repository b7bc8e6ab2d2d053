"""One request to an ASGI app, byte by byte as a server would hand it over."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from serving.protocol import Protocol

JSON = ((b"content-type", b"application/json"),)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


async def ask_async(
    app: Any,
    method: str,
    path: str,
    chunks: Iterable[bytes] = (b"",),
    headers: Sequence[tuple[bytes, bytes]] = (),
    slow: float = 0.0,
) -> Reply:
    """Send a body in ``chunks``, waiting ``slow`` seconds before each, and collect the reply."""
    parts = list(chunks)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(slow)
        if not parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), *headers],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    if not sent:
        return Reply(0, {}, b"")
    start, *rest = sent
    return Reply(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in rest),
    )


def ask(app: Any, method: str, path: str, body: bytes = b"", headers: Any = ()) -> Reply:
    """One request with its body in one piece."""
    return asyncio.run(ask_async(app, method, path, [body], headers))


def post(app: Any, path: str, rows: Any, headers: Any = ()) -> Reply:
    """POST ``{"rows": rows}`` as JSON."""
    body = json.dumps({"rows": rows}).encode()
    return ask(app, "POST", path, body, [*JSON, *headers])


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The address of an app on a socket, served by a thread of this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Protocol, ws="none", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
