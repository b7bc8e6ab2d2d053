"""The bundle of a supervised answer: model and calibrator over feature rows.

Beside the common files: ``calibrator.json``, the model's native files, and ``golden.npz`` with rows
and the answers given to them at training time.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.schema import FeatureColumn
from features.settings import Part, resolve
from training import categories
from training.bundle import ANSWER, MODELS, Facts, Recorded, Shown, Typed, write_files
from training.calibrate import Calibrator
from training.contract import Explanation, Floats, Model, matrix, reasons

if TYPE_CHECKING:
    import pandas as pd

GOLDEN = "golden.npz"
BATCH_ROWS = 200
EXPLAINED_ROWS = 100


class Answer(Facts):
    """What a supervised bundle answers."""

    unit: str = "probability"
    """What the calibrated number is measured in; ``currency`` is the one of the facts."""
    space: str
    """What the explained score is measured in."""
    model: Part
    columns: tuple[FeatureColumn, ...]
    threshold: float | None
    """Probability from which a customer counts as positive; None for amounts."""

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

    @property
    def inputs(self) -> list[Typed]:
        """The feature columns."""
        words = {k.name for k in self.answer.columns if k.dtype == "string"}
        return [(name, "string" if name in words else "double") for name in self.columns]

    @property
    def outputs(self) -> list[Typed]:
        """The calibrated answer and the score."""
        return [(self.answer.output, "double"), ("score", "double")]

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

        coded = categories.encoded(X, self.answer.columns)
        answers, scores = self.predict(matrix(coded, self.columns))
        return pd.DataFrame({self.answer.output: answers, "score": scores}, index=X.index)

    def reasons_frame(self, X: "pd.DataFrame", top: int) -> list[list[str]]:
        """The largest contributions of each row in words; a frame as for :meth:`predict_frame`."""
        coded = categories.encoded(X, self.answer.columns)
        explained = self.explain(matrix(coded, self.columns))
        return reasons(self.answer.columns, self.answer.currency, explained, top)

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

    def recorded(self) -> Iterator[Recorded]:
        """All golden rows to be predicted, the first ones to be explained."""
        assert self.golden is not None, "a written bundle has golden rows"
        rows = categories.rows(self.answer.columns, self.golden.X)
        for start in range(0, len(rows), BATCH_ROWS):
            asked = {"rows": rows[start : start + BATCH_ROWS]}
            yield Recorded("/predict", asked, partial(self._differ, start))
        yield Recorded("/explain", {"rows": rows[:EXPLAINED_ROWS]}, self._explained_differ)

    def shown(self) -> Shown:
        """The golden row with the highest answer, explained."""
        assert self.golden is not None, "a written bundle has golden rows"
        highest = int(np.argmax(self.golden.prediction))
        rows = categories.rows(self.answer.columns, self.golden.X[highest : highest + 1])
        return Shown("/explain", {"rows": rows}, self._say)

    def _say(self, reply: dict[str, Any]) -> list[str]:
        explained, output = reply["explanations"][0], self.answer.output
        head = f"the golden customer with the highest {output}, {explained[output]:.3f}:"
        return [head, *(f"  - {said}" for said in explained["reasons"])]

    def _differ(self, start: int, reply: dict[str, Any]) -> float:
        return self._numbers_differ(start, reply["predictions"])

    def _explained_differ(self, reply: dict[str, Any]) -> float:
        golden, answers = self.golden, reply["explanations"]
        assert golden is not None, "recorded() has golden rows"
        differences = [self._numbers_differ(0, answers)]
        for i, answer in enumerate(answers):
            moved = {item["feature"]: item["contribution"] for item in answer["contributions"]}
            now = np.array([answer["base"], *(moved[name] for name in self.columns)])
            then = [golden.base[i], *golden.contributions[i]]
            differences.append(float(np.abs(now - then).max()))
        return float(np.max(differences))

    def _numbers_differ(self, start: int, answers: list[dict[str, float]]) -> float:
        assert self.golden is not None, "recorded() has golden rows"
        told = {self.answer.output: self.golden.prediction, "score": self.golden.score}
        return float(np.max([
            np.abs([a[name] for a in answers] - values[start : start + len(answers)]).max()
            for name, values in told.items()
        ]))  # fmt: skip


def write(bundle: Bundle, golden_rows: Floats, folder: Path, private: Ed25519PrivateKey) -> str:
    """Write and sign the bundle with the answers to ``golden_rows``; return its digest."""
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
    return write_files(files, folder, private)


def parse(files: Mapping[str, bytes], digest: str) -> Bundle:
    """The loaded answer, from verified bytes."""
    answer = Answer(**json.loads(files[ANSWER]))
    model: Model = resolve(MODELS, answer.model)
    model.load(files, [column.name for column in answer.columns])
    with np.load(io.BytesIO(files[GOLDEN]), allow_pickle=False) as stored:
        golden = Golden(**{name: stored[name] for name in stored.files})
    return Bundle(answer, model, Calibrator.load(files), digest, golden)
