"""A release: a bundle with a signed statement of which approved version it is.

::

    bundle/...      the bundle as it was approved, with its own manifest and signature
    release.json    model, version, digest of the bundle, who approved it and when
    release.sig     Ed25519 signature over release.json
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.errors import DataError
from features.settings import Strict
from features.store import write_synced
from training import bundle
from training.bundle import Facts, Loaded
from training.keys import verifying_key

BUNDLE, STATEMENT, SIGNATURE = "bundle", "release.json", "release.sig"
MAX_BYTES = 1_000_000


class Posted(Strict):
    """What it takes to make feature rows of a posted history, as the version's pipeline has it."""

    features: tuple[dict[str, Any], ...]
    """The feature sets, as in the pipeline's YAML."""
    schemas: dict[str, dict[str, str]]
    """Table -> column -> type: what the source brings."""
    began: dict[str, datetime]
    """Time of each table's first row: what lies before could not be observed."""
    time_zone: str


class Release(Strict):
    """Which approved version a bundle is."""

    model: str
    version: int
    digest: str
    """SHA-256 of the bundle's manifest."""
    reviewer: str
    approved_at: str
    posted: Posted | None = None
    """None where histories cannot be answered."""

    def head(self, answer: Facts) -> dict[str, Any]:
        """What every reply says of the version that answers."""
        return {"model": self.model, "version": self.version, "cutoff": answer.cutoff}

    def facts(self, answer: Facts, space: str) -> dict[str, Any]:
        """What ``/model`` says of any version.

        Parameters
        ----------
        space
            What explained scores are measured in.
        """
        return {
            **self.head(answer), "digest": self.digest, "question": answer.question,
            "answers": answer.kind, "output": answer.output, "space": space,
            "source": answer.source, "currency": answer.currency, "reviewer": self.reviewer,
            "approved_at": self.approved_at,
        }  # fmt: skip


def write(release: Release, source: Path, folder: Path, private: Ed25519PrivateKey) -> None:
    """Copy the bundle ``source`` into ``folder`` with the signed statement."""
    (folder / BUNDLE).mkdir(parents=True)
    for path in sorted(source.iterdir()):
        write_synced(folder / BUNDLE / path.name, path.read_bytes())
    statement = json.dumps(release.model_dump(mode="json"), indent=1, sort_keys=True).encode()
    write_synced(folder / STATEMENT, statement)
    write_synced(folder / SIGNATURE, private.sign(statement))


def verify(folder: Path, keys: Path) -> Release:
    """The statement, after its signature and the bundle's signature and hashes were checked.

    No model file is parsed.

    Raises
    ------
    DataError
        If anything differs from what was approved and signed.
    """
    public = verifying_key(keys)
    try:
        statement, signature = (
            (folder / name).read_bytes()[:MAX_BYTES] for name in (STATEMENT, SIGNATURE)
        )
        public.verify(signature, statement)
    except OSError as error:
        raise DataError(
            f"{folder}: no readable release ({error}); package the model again"
        ) from None
    except InvalidSignature:
        raise DataError(
            f"{folder / STATEMENT}: its signature does not fit our key; it was changed or signed "
            "elsewhere: package the model again"
        ) from None
    release = Release(**json.loads(statement))
    _, digest = bundle.read_verified(folder / BUNDLE, public)
    if digest != release.digest:
        raise DataError(
            f"{folder}: the release names bundle {release.digest[:12]}, found {digest[:12]}: "
            "package the model again"
        )
    return release


def load(folder: Path, keys: Path) -> tuple[Loaded, Release]:
    """The bundle and its statement, verified before anything is parsed.

    Raises
    ------
    DataError
        As :func:`verify`.
    """
    release = verify(folder, keys)
    loaded = bundle.load(folder / BUNDLE, verifying_key(keys))
    if loaded.digest != release.digest:  # the bundle was exchanged between the two looks
        raise DataError(f"{folder}: the bundle changed while it was read: package the model again")
    return loaded, release
