"""Keys: the place's own, which signs what the software makes, and each reviewer's."""

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from features.errors import ConfigError, DataError
from features.store import write_once

PRIVATE_KEY, PUBLIC_KEY = "signing.key", "signing.pub"
REVIEWERS = "reviewers"
PLACES = "places"
"""Public keys of the places whose exports are taken, beside this place's own."""
NAME = re.compile(r"\w[\w .@+-]{0,62}\w|\w")


def signing_key(keys: Path) -> Ed25519PrivateKey:
    """The place's key, which signs bundles and what pipelines record; made on first use.

    Raises
    ------
    DataError
        If only the public key is there.
    """
    path = keys / PRIVATE_KEY
    if not path.exists():
        if (keys / PUBLIC_KEY).exists() and not path.exists():
            raise DataError(
                f"{keys}: the public key is there and the private one is not; this place only "
                f"verifies. Sign where {PRIVATE_KEY} is, or restore it from its backup"
            )
        write_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
    key = Ed25519PrivateKey.from_private_bytes(_key_bytes(path))
    if not (keys / PUBLIC_KEY).exists():
        write_once(keys / PUBLIC_KEY, key.public_key().public_bytes_raw())
    return key


def verifying_key(keys: Path) -> Ed25519PublicKey:
    """What the place signed is checked with this key, which never comes from what it checks.

    Raises
    ------
    DataError
        If the folder has no such key.
    """
    return Ed25519PublicKey.from_public_bytes(_key_bytes(keys / PUBLIC_KEY))


def add_reviewer(keys: Path, name: str) -> Path:
    """Make the key pair of a reviewer, or leave the one that is there; where the public key is.

    The private key stays with the reviewer. Other machines trust the reviewer once the public key
    is copied into their ``reviewers`` folder.

    Raises
    ------
    ConfigError
        If the name cannot be a file name.
    DataError
        If only the public key is here: the reviewer's private key is on another machine.
    """
    private, public = _reviewer(keys, name, ".key"), _reviewer(keys, name, ".pub")
    if public.exists() and not private.exists():
        raise DataError(f"{public}: {name} is trusted here already, with a key made elsewhere")
    write_once(private, Ed25519PrivateKey.generate().private_bytes_raw())
    key = Ed25519PrivateKey.from_private_bytes(_key_bytes(private))
    write_once(public, key.public_key().public_bytes_raw())
    return public


def reviewer_key(keys: Path, name: str) -> Ed25519PrivateKey:
    """The key that signs the decisions of a reviewer.

    Raises
    ------
    ConfigError
        If the reviewer has none here.
    """
    path = _reviewer(keys, name, ".key")
    if not path.is_file():
        raise ConfigError(
            f"reviewer {name!r} has no key here ({path}); make one, once: "
            f"`python -m training reviewer {name!r}`"
        )
    return Ed25519PrivateKey.from_private_bytes(_key_bytes(path))


def trusted_key(keys: Path, name: str) -> Ed25519PublicKey:
    """The key that checks the decisions of a reviewer.

    Raises
    ------
    DataError
        If this place does not trust the reviewer.
    """
    path = _reviewer(keys, name, ".pub")
    if not path.is_file():
        raise DataError(
            f"{path}: reviewer {name!r} is not trusted here; copy the public key there if that "
            "person may decide"
        )
    return Ed25519PublicKey.from_public_bytes(_key_bytes(path))


def place_keys(keys: Path) -> dict[str, Ed25519PublicKey]:
    """The keys of trusted places by name, this place's own first."""
    others = sorted((keys / PLACES).glob("*.pub"))
    found = {"this place": keys / PUBLIC_KEY, **{path.stem: path for path in others}}
    return {
        name: Ed25519PublicKey.from_public_bytes(_key_bytes(path))
        for name, path in found.items()
        if path.exists()
    }


def _reviewer(keys: Path, name: str, suffix: str) -> Path:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"reviewer {name!r}: a name has letters, digits, spaces and . @ + - _, 64 at most"
        )
    return keys / REVIEWERS / f"{name}{suffix}"


def _key_bytes(path: Path) -> bytes:
    if not path.is_file() or path.stat().st_size != 32:
        raise DataError(
            f"{path}: no 32-byte key there; set PERENNIAL_KEYS_DIR to the folder with the keys "
            "that the bundle was signed with"
        )
    return path.read_bytes()
