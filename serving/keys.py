"""API keys: who may ask. The service knows their hashes alone."""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from pathlib import Path

from features.errors import ConfigError

ENV, FILE = "PERENNIAL_API_KEYS_FILE", "api_keys"


def read_hashes(keys: Path) -> tuple[bytes, ...] | None:
    """SHA-256 of each API key, or None where no key file is configured.

    The file is ``PERENNIAL_API_KEYS_FILE`` or ``<keys>/api_keys``: one hash in hex a line; empty
    lines and lines that start with # are skipped.

    Raises
    ------
    ConfigError
        If a configured file is missing, holds no hash, or anything but hashes: a service that was
        meant to be locked does not start open.
    """
    configured = os.environ.get(ENV)
    path = Path(configured) if configured else keys / FILE
    if not configured and not path.exists():
        return None
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: the API key file cannot be read: {type(error).__name__}"
        ) from None
    hashes = [(n, text) for n, text in enumerate(lines, 1) if text and not text.startswith("#")]
    odd = [n for n, text in hashes if not re.fullmatch("[0-9a-f]{64}", text)]
    if odd or not hashes:
        found = f"lines {odd} hold something else" if odd else "it holds none"
        raise ConfigError(f"{path}: expected one SHA-256 in 64 hex digits a line; {found}")
    return tuple(bytes.fromhex(text) for _, text in hashes)


def fits(headers: Sequence[tuple[bytes, bytes]], hashes: Sequence[bytes]) -> bool:
    """Whether the headers carry a key with one of the hashes.

    Every stored hash is compared, each in constant time.
    """
    key = _sent(headers)
    sent = hashlib.sha256(key).digest()
    return bool(key) and any([hmac.compare_digest(sent, known) for known in hashes])


def caller(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Who asks, told apart by the key; empty where none is sent."""
    key = _sent(headers)
    return hashlib.sha256(key).hexdigest() if key else ""


def _sent(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    key = b""
    for name, value in headers:
        if name == b"x-api-key":
            key = value
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            key = value[7:].strip()
        elif name == b"authorization" and value[:6].lower() == b"basic ":
            key = _password(value[6:].strip())
    return key


def _password(sent: bytes) -> bytes:
    """What a browser sends where it asked a person for name and key."""
    try:
        return base64.b64decode(sent, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
