"""The shipped folder: the only place that writes, verifies, loads and predicts with it.

A bundle is native files, a manifest with each file's SHA-256 and an Ed25519 signature over the
manifest. Everything is read into memory once, verified with a key that does not come from the
bundle, and only then parsed, from those same bytes. Nothing in it is pickled.

::

    manifest.json  manifest.sig     format, facts, {file: sha256, bytes}
    answer.json                     task, model, columns, thresholds, where it came from
    calibrator.json  model.*        native files of calibrator and model
    golden.npz                      rows with the answers given at training time
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from features.errors import DataError
from features.schema import FeatureColumn
from features.settings import Part, Strict, Workspace, resolve
from features.store import write_once, write_synced
from training.calibrate import Calibrator
from training.categories import encoded
from training.contract import Explanation, Floats, Kind, Model, matrix

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
MANIFEST, SIGNATURE, ANSWER, GOLDEN = "manifest.json", "manifest.sig", "answer.json", "golden.npz"
PRIVATE_KEY, PUBLIC_KEY = "signing.key", "signing.pub"
MAX_FILE_BYTES = 1 << 30
MODELS = "training.models"
TOLERANCE = 1e-9


class Answer(Strict):
    """What a bundle answers and where it came from."""

    task: str
    question: str
    kind: Kind = "event"
    output: str
    """Name of the calibrated number."""
    unit: str = "probability"
    """What that number is measured in; ``currency`` is the one below."""
    space: str
    """What the explained score is measured in."""
    model: Part
    columns: tuple[FeatureColumn, ...]
    threshold: float | None
    """Probability from which a customer counts as positive; None for amounts."""
    cutoff: str
    """The test cutoff: the bundle learned from labels that ended by then."""
    horizon_days: int
    source: str
    currency: str
    run_key: str
    """Fingerprint of data, settings and code."""

    @property
    def said_unit(self) -> str:
        """What the calibrated number is measured in, the currency by its code."""
        return self.currency if self.unit == "currency" else self.unit


@dataclass(frozen=True)
class Golden:
    """Rows and the answers given when the model was trained."""

    X: Floats
    prediction: Floats
    score: Floats
    base: Floats
    contributions: Floats


@dataclass(frozen=True)
class Bundle:
    """A loaded answer: model and calibrator with their schema."""

    answer: Answer
    model: Model
    calibrator: Calibrator
    digest: str = ""
    """SHA-256 of the manifest; empty until written."""
    golden: Golden | None = None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Feature columns in the model's order."""
        return tuple(column.name for column in self.answer.columns)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """``(answer, score)``, each of shape (n_rows,); columns in the model's order."""
        scores = self.model.score(X)
        return self.calibrator.apply(scores), scores

    def explain(self, X: Floats) -> Explanation:
        """Contributions that add up to the score, before calibration."""
        return self.model.explain(X)

    def predict_frame(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """Columns ``<output>`` and ``score`` for a frame with the feature columns by name.

        Categories are given as words; one that was not learned counts as missing.

        Raises
        ------
        DataError
            If a column is missing, unknown or infinite.
        """
        import pandas as pd

        answers, scores = self.predict(matrix(encoded(X, self.answer.columns), self.columns))
        return pd.DataFrame({self.answer.output: answers, "score": scores}, index=X.index)

    def replay(self) -> float:
        """Largest difference between the golden answers and today's, over all their numbers."""
        assert self.golden is not None, "a written bundle has golden rows"
        golden, explanation = self.golden, self.explain(self.golden.X)
        prediction, scores = self.predict(golden.X)
        pairs = [
            (prediction, golden.prediction),
            (scores, golden.score),
            (explanation.base, golden.base),
            (explanation.contributions, golden.contributions),
        ]
        return max(float(np.abs(now - then).max()) for now, then in pairs)


def write(bundle: Bundle, golden_rows: Floats, folder: Path, private: Ed25519PrivateKey) -> str:
    """Write and sign the bundle with the answers to ``golden_rows``; return its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    prediction, scores = bundle.predict(golden_rows)
    explanation = bundle.explain(golden_rows)
    stream = io.BytesIO()
    np.savez(
        stream, allow_pickle=False, X=golden_rows, prediction=prediction, score=scores,
        base=explanation.base, contributions=explanation.contributions,
    )  # fmt: skip
    files = {
        ANSWER: json.dumps(bundle.answer.model_dump(mode="json"), indent=1).encode(),
        GOLDEN: stream.getvalue(),
        **bundle.calibrator.save(),
        **bundle.model.save(),
    }
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


def load(folder: Path, public: Ed25519PublicKey) -> Bundle:
    """Verify, then parse from the verified bytes.

    Raises
    ------
    DataError
        As :func:`read_verified`.
    """
    files, digest = read_verified(folder, public)
    answer = Answer(**json.loads(files[ANSWER]))
    model: Model = resolve(MODELS, answer.model)
    model.load(files, [column.name for column in answer.columns])
    with np.load(io.BytesIO(files[GOLDEN]), allow_pickle=False) as stored:
        golden = Golden(**{name: stored[name] for name in stored.files})
    return Bundle(answer, model, Calibrator.load(files), digest, golden)


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise DataError(f"{path}: missing, or not a plain file of the bundle")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return path.read_bytes()


def signing_key(keys: Path) -> Ed25519PrivateKey:
    """The key that signs bundles; made on first use, readable by its owner alone.

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
    """The key that checks bundles, from the keys folder and never from a bundle.

    Raises
    ------
    DataError
        If the folder has no such key.
    """
    return Ed25519PublicKey.from_public_bytes(_key_bytes(keys / PUBLIC_KEY))


def _key_bytes(path: Path) -> bytes:
    if not path.is_file() or path.stat().st_size != 32:
        raise DataError(
            f"{path}: no 32-byte key there; set PERENNIAL_KEYS_DIR to the folder with the keys "
            "that the bundle was signed with"
        )
    return path.read_bytes()


class PyfuncAnswer:
    """What ``mlflow.pyfunc.load_model`` returns from a bundle: ``predict(frame) -> frame``."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(
        self, model_input: "pd.DataFrame", params: Mapping[str, Any] | None = None
    ) -> "pd.DataFrame":
        """As :meth:`Bundle.predict_frame`."""
        return self.bundle.predict_frame(model_input)


def _load_pyfunc(path: str) -> PyfuncAnswer:
    """MLflow's entry to this loader module; verifies like every other load."""
    return PyfuncAnswer(load(Path(path), verifying_key(Workspace.locate().keys)))
