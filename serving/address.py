"""Where a service listens: only for this machine, unless callers are asked who they are."""

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from features.errors import ConfigError
from serving import keys
from serving.access import open_access

LOOPBACK = "127.0.0.1"
BACKLOG = 2048
"""Connections that may wait to be accepted."""


@dataclass(frozen=True)
class Tls:
    """What encrypts the connections."""

    certificate: Path
    """Chain in PEM."""
    private_key: Path


def checked_host(host: str, folder: Path) -> str:
    """The IP address to listen on; any but loopback needs keys in ``folder``, or an issuer.

    Raises
    ------
    ConfigError
        If it is no address, or other machines could ask without being known.
    """
    host = LOOPBACK if host == "localhost" else host
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ConfigError(f"--host {host!r}: expected an IP address, such as {LOOPBACK}") from None
    if open_access(folder) is None and not local:
        raise ConfigError(
            f"--host {host}: other machines could ask without a key. Configure API keys first, "
            f"`python -m serving key` makes one in {folder / keys.FILE}, or tokens of an issuer; "
            f"or stay on {LOOPBACK}"
        )
    return host


def check_tls(tls: Tls) -> None:
    """Refuse files that are no chain and its key.

    Raises
    ------
    ConfigError
        If they cannot be read or do not fit.
    """
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            tls.certificate, tls.private_key
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{tls.certificate}, {tls.private_key}: expected a certificate chain and its private "
            f"key in PEM: {error}"
        ) from None


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 = any that is free.

    Raises
    ------
    ConfigError
        If the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error}; choose another with --port"
        ) from None
