"""Bytes on a connection: what is a request, what is none, and what never ends."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.asgi import listening

HOST = b"Host: x\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = 40
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


async def told(scope: Any, receive: Any, send: Any) -> None:
    """Answers method, path and body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    names = [name.decode() for name, _ in scope["headers"]]
    said = json.dumps([scope["method"], scope["path"], body.decode(), names]).encode()
    length = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where it listens."""
    with listening(told) as address:
        yield int(address.rsplit(":", 1)[1])


def answers(port: int, *parts: bytes, replies: int = 1) -> tuple[list[int], list[Any]]:
    """Statuses and what was told, until so many replies are here or the connection ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while got.count(b"HTTP/1.1 ") < replies or not got.endswith((b"]", b".")):
                more = connection.recv(1 << 16)
                if not more:
                    break
                got += more
        except ConnectionError:
            pass  # it is cut while we still send: what was answered before counts
    blocks = got.split(b"HTTP/1.1 ")[1:]
    bodies = [block.partition(b"\r\n\r\n")[2] for block in blocks if block.startswith(b"200")]
    return [int(block[:3]) for block in blocks], [json.loads(body) for body in bodies]


def test_a_request_in_pieces_is_one_request(port: int) -> None:
    """Byte by byte it is what it was."""
    sent = b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
    pieces = [sent[k : k + 1] for k in range(len(sent))]
    assert answers(port, *pieces) == ([200], [["POST", "/a", "abc", ["host", "content-length"]]])


def test_two_requests_at_once_are_answered_in_turn(port: int) -> None:
    """The second waits for the first one's answer."""
    sent = b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
    sent += b"GET /b HTTP/1.1\r\n" + HOST + b"\r\n"
    statuses, bodies = answers(port, sent, replies=2)
    assert statuses == [200, 200]
    assert [body[1] for body in bodies] == ["/a", "/b"]


def test_who_would_like_another_protocol_is_answered_in_this_one(port: int) -> None:
    """With the body, which llhttp would leave unread, wherever it is cut, and the next is read."""
    sent = b"POST /a HTTP/1.1\r\n" + HOST + H2C + b"Content-Length: 3\r\n\r\nabc"
    sent += b"GET /b HTTP/1.1\r\n" + HOST + b"\r\n"
    for cut in range(0, len(sent), 3):
        statuses, bodies = answers(port, sent[:cut], sent[cut:], replies=2)
        assert statuses == [200, 200]
        assert bodies[0][:3] == ["POST", "/a", "abc"]
        assert "upgrade" not in bodies[0][3]
        assert bodies[1][1] == "/b"


def test_a_chunked_body_survives_the_wish_for_another_protocol(port: int) -> None:
    """Its length is not known when the head is read."""
    sent = CHUNKED[:-2] + H2C + b"\r\n3\r\nabc\r\n0\r\n\r\n"
    statuses, bodies = answers(port, sent)
    assert statuses == [200]
    assert bodies[0][2] == "abc"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"GET /a HTTP/3.0\r\n" + HOST + b"\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /a HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
        b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\nabc",
        b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"ZZ\r\n\r\n",
        CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)  # fmt: skip
def test_what_two_readers_could_read_in_two_ways_is_refused(port: int, sent: bytes) -> None:
    """Once, and the connection ends."""
    assert answers(port, sent, replies=2) == ([400], [])


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"GET /", b"a" * 10_000),
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 10_000),
        (b"GET / HTTP/1.1\r\n", b"X: aaaa\r\n" * 1_000),
        (CHUNKED + b"0\r\n", b"X: aaaa\r\n" * 1_000),
        (CHUNKED + b"1;", b"a" * 10_000),
    ],
)
def test_what_never_ends_is_cut(port: int, begun: bytes, more: bytes) -> None:
    """A head, a trailer or the extension of a chunk fills no memory."""
    statuses, bodies = answers(port, begun, *[more] * ENDLESS, replies=2)
    assert (statuses, bodies) in (([400], []), ([], []))  # a reset may overtake the reply


def test_a_long_body_is_no_long_head(port: int) -> None:
    """Only what adds to nothing is counted."""
    body = b"a" * 300_000
    head = f"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    statuses, bodies = answers(port, head, body)
    assert statuses == [200]
    assert len(bodies[0][2]) == len(body)
