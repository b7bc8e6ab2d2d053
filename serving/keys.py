"""API keys: who may ask. The service knows their hashes alone.

A file holds one key a line: its SHA-256 in hex, and after a blank its scopes, ``predict,read``; all
scopes where none are named. Lines that start with # are skipped.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.errors import ConfigError
from features.store import write_synced

ENV, FILE = "PERENNIAL_API_KEYS_FILE", "api_keys"
PREDICT, READ, METRICS = "predict", "read", "metrics"
ALL = frozenset((PREDICT, READ, METRICS))
"""What may be done: ask about customers, look at what is served, read the counts."""
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Key:
    """An API key, as the service knows it."""

    digest: bytes
    """SHA-256."""
    scopes: frozenset[str]


def configured(folder: Path) -> Path | None:
    """The key file: ``PERENNIAL_API_KEYS_FILE``, else ``<keys>/api_keys`` if it is there."""
    named = os.environ.get(ENV)
    path = Path(named) if named else folder / FILE
    return path if named or path.exists() else None


def read_keys(folder: Path) -> dict[bytes, frozenset[str]] | None:
    """SHA-256 of each API key with its scopes, or None where no key file is configured.

    Raises
    ------
    ConfigError
        If a configured file is missing, holds no key, or a line that is none: a service that was
        meant to be locked does not start open.
    """
    path = configured(folder)
    if path is None:
        return None
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: the API key file cannot be read: {type(error).__name__}"
        ) from None
    told = [(n, text) for n, text in enumerate(lines, 1) if text and not text.startswith("#")]
    parsed = [(n, _parsed(text)) for n, text in told]
    odd = [n for n, key in parsed if key is None]
    if odd or not parsed:
        found = f"lines {odd} hold something else" if odd else "it holds none"
        raise ConfigError(
            f"{path}: expected one SHA-256 in 64 hex digits a line, and scopes of "
            f"{', '.join(sorted(ALL))} after a blank; {found}"
        )
    return {key.digest: key.scopes for _, key in parsed if key}


def _parsed(text: str) -> Key | None:
    digest, _, named = text.partition(" ")
    scopes = frozenset(named.strip().split(",")) if named.strip() else ALL
    if not re.fullmatch("[0-9a-f]{64}", digest) or not scopes <= ALL:
        return None
    return Key(bytes.fromhex(digest), scopes)


def add(folder: Path, scopes: Sequence[str] = (), comment: str = "") -> str:
    """Make a key, append its hash to the key file, and return it: nobody can tell it later.

    Raises
    ------
    ConfigError
        If a scope is unknown or the file cannot be read.
    """
    odd = sorted(set(scopes) - ALL)
    if odd:
        raise ConfigError(f"scopes {odd}: expected some of {', '.join(sorted(ALL))}")
    read_keys(folder)
    path = configured(folder) or folder / FILE
    key = secrets.token_urlsafe(32)
    line = " ".join([hashlib.sha256(key.encode()).hexdigest(), ",".join(sorted(scopes))]).strip()
    before = path.read_text(encoding="ascii").rstrip("\n") + "\n" if path.exists() else ""
    said = f"# {re.sub(r'[^ -~]', '?', comment)}\n" if comment else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    write_synced(beside, f"{before}{said}{line}\n".encode())
    beside.replace(path)  # a service that starts meanwhile reads the one or the other
    return key


def find(key: bytes, known: Sequence[Key]) -> Key | None:
    """The known key that was sent; every one is compared, each in constant time."""
    digest = hashlib.sha256(key).digest()
    fits = [one for one in known if hmac.compare_digest(digest, one.digest)]
    return fits[0] if fits else None


def sent(headers: Headers) -> bytes:
    """The key or token of a request; empty where there is none."""
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
