"""The body of a request: what its headers may say of it, and its bytes while they arrive."""

import re
from collections.abc import Sequence

from starlette.types import Message, Receive

from serving.refused import Refused

JSON = re.compile(rb"application/json(\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
FORM = re.compile(rb"application/x-www-form-urlencoded(\s*;.*)?", re.IGNORECASE)


class Gone(Exception):
    """The client left before its body was whole."""


def check_headers(
    headers: Sequence[tuple[bytes, bytes]], kind: re.Pattern[bytes], most: int
) -> None:
    """Refuse a body before its first byte: of another kind, encoded, of more than ``most`` bytes.

    Raises
    ------
    Refused
        415 or 413.
    """
    kinds = [value.strip() for name, value in headers if name == b"content-type"]
    if len(kinds) != 1 or not kind.fullmatch(kinds[0]):
        wanted = "application/json in UTF-8" if kind is JSON else "a form of the page"
        raise Refused(415, "unsupported_media_type", f"the body must be sent as {wanted}")
    if any(name == b"content-encoding" for name, _ in headers):
        raise Refused(415, "unsupported_encoding", "the body must be sent without content-encoding")
    said = [value for name, value in headers if name == b"content-length"]
    if any(not v.isdigit() or len(v) > 12 or int(v) > most for v in said):
        raise _too_large(most)


def declared(headers: Sequence[tuple[bytes, bytes]], most: int) -> int:
    """Bytes of the body; as many as may be where they are not said."""
    return next((int(v) for n, v in headers if n == b"content-length"), most)


async def read(receive: Receive, most: int) -> bytes:
    """The whole body.

    Raises
    ------
    Refused
        413 as soon as there are more than ``most`` bytes.
    Gone
        If the client left.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the application the body that was read already, and then what else comes."""
    unread = [body]

    async def again() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return again


def _too_large(most: int) -> Refused:
    return Refused(413, "body_too_large", f"the body is limited to {most} bytes")
