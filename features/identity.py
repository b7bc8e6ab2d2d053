"""Channel records -> one internal customer. The only place that sees a source's id and ours."""

import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from features.errors import DataError
from features.store import write_once

KEY_FILE = "customer_id.key"
_BITS = 63


def customer_key(keys: Path) -> bytes:
    """The 32-byte key behind customer ids; made on first use, readable by its owner alone.

    Raises
    ------
    DataError
        If the key file exists but does not hold 32 bytes.
    """
    path = keys / KEY_FILE
    if not path.exists():
        write_once(path, secrets.token_bytes(32))
    key = path.read_bytes()
    if len(key) != 32:
        raise DataError(f"{path}: {len(key)} bytes, expected 32; restore the key from its backup")
    return key


def customer_ids(source: str, source_ids: Iterable[str], key: bytes) -> dict[str, int]:
    """Internal customer of each source id: a keyed hash, so it means nothing without the key.

    HMAC-SHA256 over ``source`` and id, cut to 63 bits so that it fits a signed 64-bit column.

    Raises
    ------
    DataError
        If two ids meet in one number (chance about n^2 / 2^64).
    """
    ids = {
        source_id: int.from_bytes(
            hmac.digest(key, f"{source}\0{source_id}".encode(), "sha256")[:8], "big"
        )
        >> (64 - _BITS)
        for source_id in source_ids
    }
    if len(set(ids.values())) != len(ids):
        raise DataError(f"source {source}: two customers meet in one internal id; change the key")
    return ids
