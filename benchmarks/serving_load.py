"""Load on HTTP services: a raw client that keeps up with them on one core, and what it measured.

Closed loop (``peak``): each connection sends its next request when it has its answer. Open loop
(``steady``): requests arrive at a constant rate whatever the service does; a request that finds no
connection free waits, and its time counts from its arrival.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SETTLE = 0.3
"""Seconds for a service to accept the connections of a load that comes at a constant rate: hundreds
at once cost it 30 ms, which would be the slowest percent of the first two seconds."""


@dataclass
class Seen:
    """What came back."""

    seconds: float = 0.0
    """From the first request to the last answer."""
    times: list[tuple[int, float, float]] = field(default_factory=list)
    """Status, seconds from arrival to answer, and the moment of arrival."""
    broken: int = 0
    """Connections that ended with a request unanswered."""

    def rate(self, status: int = 200) -> float:
        """Answers of a status in a second."""
        return sum(s == status for s, _, _ in self.times) / self.seconds

    def quantile(self, share: float, refused: bool = False) -> float:
        """Seconds that answers took, or refusals."""
        took = [t for s, t, _ in self.times if (s != 200) == refused]
        return float(np.quantile(took, share)) if took else float("nan")

    def statuses(self) -> dict[int, int]:
        """Answers by status."""
        found, counts = np.unique([s for s, _, _ in self.times], return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    def refusals(self) -> dict[int, int]:
        """Answers that are none, by status."""
        return {status: count for status, count in self.statuses().items() if status != 200}


def joined(parts: Sequence[Seen]) -> Seen:
    """What several loads saw, one after the other."""
    return Seen(
        sum(part.seconds for part in parts),
        [time for part in parts for time in part.times],
        sum(part.broken for part in parts),
    )


def request(path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """A POST of JSON, byte by byte."""
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    """One connection: a request out, its answer in; it connects anew where the service closes."""

    def __init__(self, client: "_Client") -> None:
        self.client, self.data, self.arrived = client, b"", 0.0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport, self.data = transport, b""
        self.client.free(self)

    def send(self, sent: bytes, arrived: float) -> None:
        """Send a request that arrived at that moment."""
        self.arrived = arrived
        self.transport.write(sent)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, gap, body = self.data.partition(b"\r\n\r\n")
        if not gap:
            return
        lower = head.lower()
        at = lower.index(b"content-length:") + 15
        if len(body) < int(lower[at:].split(b"\r\n", 1)[0]):
            return
        now = time.perf_counter()
        self.client.seen.times.append((int(head[9:12]), now - self.arrived, self.arrived))
        self.data, self.arrived = b"", 0.0
        if b"connection: close" in lower:
            self.transport.close()
        else:
            self.client.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self.client.lost(self)


class _Client:
    """Connections to one service, the requests that wait for one, and what came back."""

    def __init__(self, host: str, port: int, sends: Callable[[], bytes]) -> None:
        self.host, self.port, self.sends, self.seen = host, port, sends, Seen()
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[float] = deque()
        self.closed = self.ended = False
        self.tasks: set[asyncio.Future[Any]] = set()
        self.refill, self.asked = False, 0

    async def connect(self, count: int) -> None:
        """Open so many connections."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            await loop.create_connection(lambda: _Connection(self), self.host, self.port)

    def arrive(self, moment: float) -> None:
        """A request arrives: it is sent, or waits for a connection; it counts from ``moment``."""
        self.asked += 1
        while self.idle:
            connection = self.idle.popleft()
            if not connection.transport.is_closing():
                connection.send(self.sends(), moment)
                return
        self.waiting.append(moment)

    def free(self, connection: _Connection) -> None:
        """A connection has nothing to do: it takes what waits, or the next at once."""
        if self.ended:
            connection.transport.close()
        elif self.waiting:
            connection.send(self.sends(), self.waiting.popleft())
        elif self.refill:
            self.asked += 1
            connection.send(self.sends(), time.perf_counter())
        else:
            self.idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """A connection ended, maybe with its request; another is opened."""
        if connection.arrived:
            self.seen.broken += 1
        if connection in self.idle:
            self.idle.remove(connection)
        if not self.ended:
            task = asyncio.ensure_future(self.connect(1))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)


async def peak(
    address: tuple[str, int], sends: Callable[[], bytes], seconds: float, connections: int = 32
) -> Seen:
    """As many requests as ``connections`` ask that wait for their answers."""
    client = _Client(*address, sends)
    client.refill = True
    begun = time.perf_counter()
    await client.connect(connections)
    await asyncio.sleep(seconds)
    client.refill = False
    return await _ended(client, begun)


async def steady(
    address: tuple[str, int],
    sends: Callable[[], bytes],
    rate: float,
    seconds: float,
    connections: int = 256,
) -> Seen:
    """Requests at a constant ``rate`` a second."""
    client = _Client(*address, sends)
    await client.connect(connections)
    await asyncio.sleep(SETTLE)
    begun, sent = time.perf_counter(), 0
    while sent < rate * seconds:
        now = time.perf_counter()
        while sent < min(rate * (now - begun), rate * seconds):
            client.arrive(begun + sent / rate)
            sent += 1
        await asyncio.sleep(max(0.0005, begun + sent / rate - time.perf_counter()))
    return await _ended(client, begun)


async def _ended(client: _Client, begun: float) -> Seen:
    """Wait for what is on its way, 15 s at most."""
    seen, patience = client.seen, time.perf_counter() + 15
    while time.perf_counter() < patience and len(seen.times) + seen.broken < client.asked:
        await asyncio.sleep(0.01)
    client.ended, seen.seconds = True, time.perf_counter() - begun
    for connection in list(client.idle):
        connection.transport.close()
    await asyncio.sleep(0)
    return seen


def together(*loads: Coroutine[Any, Any, Seen]) -> list[Seen]:
    """Several loads at the same time."""

    async def run() -> list[Seen]:
        return await asyncio.gather(*loads)

    # A collection that looks at all that is imported here takes 0.1 s, which a service would seem
    # to have taken.
    gc.collect()
    gc.disable()
    try:
        return asyncio.run(run())
    finally:
        gc.enable()
