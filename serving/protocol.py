"""HTTP/1.1 as llhttp reads it, kept as strict and as patient as a service should be."""

from typing import Any

import httptools
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_PENDING = 1 << 16
"""Bytes that may come without completing a head or adding to a body."""
_VERSIONS = ("1.0", "1.1")


class Protocol(HttpToolsProtocol):
    """One connection.

    What llhttp leaves to others: heads, trailers and extensions of chunks end somewhere; a request
    of HTTP/1.1 names one host (RFC 9112, 3.2); and who would like another protocol is answered in
    this one (RFC 9110, 7.8), where llhttp stops reading.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending = 0

    def data_received(self, data: bytes) -> None:
        """Read what came, unless too much has come of nothing."""
        self._unset_keepalive_if_required()
        self._pending += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
        else:
            if self._pending > MOST_PENDING:
                self._refuse("Request head is too large.")

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._pending = 0
        version, tunnel = self.parser.get_http_version(), self.parser.get_method() == b"CONNECT"
        hosts = sum(name == b"host" for name, _ in self.headers)
        if tunnel or version not in _VERSIONS or hosts > 1 or (hosts == 0 and version == "1.1"):
            raise ValueError("no request for this server")  # httptools wraps it in its own error
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """More of a body is here."""
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._pending = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _go_on(self, rest: bytes) -> None:
        """Let h11 read this connection on, from the head without the wish for another protocol."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse("No upgrade while a request is at work.")
            return
        kept = (name + b": " + value for name, value in self.headers if name != b"upgrade")
        first = b" ".join([self.parser.get_method(), self.url, b"HTTP/1.1"])
        self.connections.discard(self)
        other = H11Protocol(self.config, self.server_state, self.app_state, self.loop)
        self.transport.set_protocol(other)
        other.connection_made(self.transport)
        other.data_received(b"\r\n".join([first, *kept, b"", rest]))

    def _refuse(self, said: str) -> None:
        if not self.transport.is_closing():
            self.logger.warning(said)
            self.send_400_response(said)
