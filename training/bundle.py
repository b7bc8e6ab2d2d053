"""The shipped folder: the only place that writes, verifies and loads it.

A bundle is native files, a manifest with each file's SHA-256 and an Ed25519 signature over the
manifest. Everything is read into memory once, verified with a key that does not come from the
bundle, and only then parsed, from those same bytes. Nothing in it is pickled.

::

    manifest.json  manifest.sig     format, facts, {file: sha256, bytes}
    answer.json                     what it answers and where it came from: :class:`Facts` and more
    golden.*                        questions with the answers given at training time
    ...                             native files of the family that parses them
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from features.errors import DataError
from features.schema import FeatureColumn
from features.settings import Strict, Workspace
from features.store import write_synced
from training.contract import Floats, Kind
from training.keys import verifying_key

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
MANIFEST, SIGNATURE, ANSWER = "manifest.json", "manifest.sig", "answer.json"
MAX_FILE_BYTES = 1 << 30
MODELS = "training.models"
TOLERANCE = 1e-9
PARSERS: dict[Kind, str] = {
    "event": "training.supervised.bundle",
    "amount": "training.supervised.bundle",
    "segments": "training.segments.bundle",
    "lists": "training.recommend.bundle",
    "lifecycle": "training.lifecycle.bundle",
}
"""Kind of answer -> module whose ``parse(files, digest)`` makes the loaded answer."""

Typed = tuple[str, Literal["double", "long", "string"]]
"""Name and MLflow type of a column."""


class Facts(Strict):
    """What every bundle says of itself: what it answers and where it came from."""

    task: str
    question: str
    kind: Kind = "event"
    output: str
    """Name of the answer."""
    cutoff: str
    """The test cutoff: the bundle learned from what was known by then."""
    horizon_days: int
    source: str
    currency: str
    run_key: str
    """Fingerprint of data, settings and code."""
    columns: tuple[FeatureColumn, ...] = ()
    """Feature columns of a row, in order; none where it answers something else than rows."""


@dataclass(frozen=True)
class Recorded:
    """A request whose answer is known from training time."""

    path: str
    body: dict[str, Any]
    difference: Callable[[dict[str, Any]], float]
    """Largest difference between the numbers of a reply and those known; infinite where words
    differ."""


@dataclass(frozen=True)
class Shown:
    """A request worth showing, and what to tell people of its reply."""

    path: str
    body: dict[str, Any]
    say: Callable[[dict[str, Any]], list[str]]


class Loaded(Protocol):
    """A bundle as its family loads it."""

    @property
    def answer(self) -> Facts:
        """What it answers and where it came from."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest; empty until written."""
        ...

    @property
    def inputs(self) -> Sequence[Typed]:
        """Columns that ``predict_frame`` takes."""
        ...

    @property
    def outputs(self) -> Sequence[Typed]:
        """Columns that ``predict_frame`` gives."""
        ...

    @property
    def sample(self) -> tuple[Floats, Floats]:
        """Golden rows, shape (n_rows, n_features), and their scores: who it was learned for."""
        ...

    def predict_frame(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """Answers for a frame; a :class:`DataError` where it does not fit."""
        ...

    def reasons_frame(self, X: "pd.DataFrame", top: int) -> list[list[str]]:
        """For each row the ``top`` reasons of its answer, each a short sentence."""
        ...

    def replay(self) -> float:
        """Largest difference between the golden answers and today's, over all their numbers."""
        ...

    def recorded(self) -> Iterator[Recorded]:
        """The golden questions as requests over HTTP."""
        ...

    def shown(self) -> Shown:
        """One of them that is worth showing."""
        ...


def write_files(files: Mapping[str, bytes], folder: Path, private: Ed25519PrivateKey) -> str:
    """Write the files with a signed manifest; return its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_synced(folder / name, data)
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(files.items())
    }
    manifest = json.dumps({"format": FORMAT, "files": listed}, indent=1, sort_keys=True).encode()
    write_synced(folder / MANIFEST, manifest)
    write_synced(folder / SIGNATURE, private.sign(manifest))
    return hashlib.sha256(manifest).hexdigest()


def read_verified(folder: Path, public: Ed25519PublicKey) -> tuple[dict[str, bytes], str]:
    """All files as bytes and the manifest's digest, after signature and hashes were checked.

    Raises
    ------
    DataError
        If the signature is not ours, the format unknown, or a file missing, added, linked or
        changed.
    """
    manifest = _bytes(folder, MANIFEST)
    try:
        public.verify(_bytes(folder, SIGNATURE), manifest)
    except InvalidSignature:
        raise DataError(
            f"{folder}: the manifest's signature does not fit our key; the bundle was changed or "
            "signed elsewhere: restore it, or train and review again"
        ) from None
    listed = json.loads(manifest)
    if listed["format"] != FORMAT:
        raise DataError(
            f"{folder}: bundle format {listed['format']}, this code reads {FORMAT}; train again"
        )
    present = {p.name for p in folder.iterdir()} - {MANIFEST, SIGNATURE}
    problems = [f"{name}: not in the manifest" for name in sorted(present - set(listed["files"]))]
    files = {}
    for name, entry in listed["files"].items():
        try:
            data = _bytes(folder, name)
        except DataError as error:
            problems.append(str(error))
            continue
        if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            problems.append(f"{name}: changed since it was signed")
        files[name] = data
    if problems:
        raise DataError.listing(
            f"{folder}: the bundle is not what was signed; nothing was loaded", problems
        )
    return files, hashlib.sha256(manifest).hexdigest()


def load(folder: Path, public: Ed25519PublicKey) -> Loaded:
    """Verify, then let the family of the answer parse the verified bytes.

    Raises
    ------
    DataError
        As :func:`read_verified`; or if the kind of answer is not known here.
    """
    files, digest = read_verified(folder, public)
    kind = json.loads(files[ANSWER])["kind"]
    if kind not in PARSERS:
        raise DataError(f"{folder}: kind of answer {kind!r}, known are {list(PARSERS)}")
    loaded: Loaded = import_module(PARSERS[kind]).parse(files, digest)
    return loaded


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise DataError(f"{path}: missing, or not a plain file of the bundle")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return path.read_bytes()


class PyfuncAnswer:
    """What ``mlflow.pyfunc.load_model`` returns from a bundle: ``predict(frame) -> frame``."""

    def __init__(self, bundle: Loaded) -> None:
        self.bundle = bundle

    def predict(
        self, model_input: "pd.DataFrame", params: Mapping[str, Any] | None = None
    ) -> "pd.DataFrame":
        """As :meth:`Loaded.predict_frame`."""
        return self.bundle.predict_frame(model_input)


def _load_pyfunc(path: str) -> PyfuncAnswer:
    """MLflow's entry to this loader module; verifies like every other load."""
    return PyfuncAnswer(load(Path(path), verifying_key(Workspace.locate().keys)))
