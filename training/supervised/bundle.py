"""The bundle of a supervised answer: model and calibrator over feature rows.

Beside the common files: ``calibrator.json``, the model's native files, and ``golden.npz`` with rows
and the answers given to them at training time.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from features.schema import FeatureColumn
from features.settings import Part, resolve
from training import categories
from training.arrays import packed, unpacked
from training.bundle import ANSWER, Facts, Recorded, Shown, Typed, write_files
from training.calibrate import Calibrator, with_shift
from training.contract import Explanation, Floats, Model, matrix, reasons
from training.details import DETAILS, Detail, Details, Factors
from training.model_part import ModelPart, built
from training.repairs import COLUMN as REPAIRED
from training.repairs import Repaired
from training.supervised import themes
from training.supervised.levers import Levers
from training.supervised.sets import COLUMN, Sets
from training.supervised.tiers import COLUMN as TIER
from training.supervised.tiers import Tiers

if TYPE_CHECKING:
    import pandas as pd

GOLDEN = "golden.npz"
TOLD = "told."
"""Prefix of the golden file's columns beside the answer."""
BATCH_ROWS = 200
EXPLAINED_ROWS = 100


class Answer(Facts):
    """What a supervised bundle answers."""

    unit: str = "probability"
    """What the calibrated number is measured in; ``currency`` is the one of the facts."""
    space: str
    """What the explained score is measured in."""
    model: ModelPart
    columns: tuple[FeatureColumn, ...]
    threshold: float | None
    """Probability from which a customer counts as positive; None for amounts."""
    details: Part | None = None
    """What tells the columns beside the answer."""
    told: tuple[Detail, ...] = ()
    """Those columns."""
    sets: Sets | None = None
    """Which answers cannot be ruled out: one more of those columns."""
    tiers: Tiers | None = None
    """High, medium or low: one more of them."""
    levers: Levers | None = None
    """What a business can move, and the values to try."""

    @property
    def said_unit(self) -> str:
        """What the calibrated number is measured in, the currency by its code."""
        return self.said(self.unit)

    def said(self, unit: str) -> str:
        """``unit``, the currency by its code."""
        return self.currency if unit == "currency" else unit


@dataclass(frozen=True)
class Golden:
    """Rows and the answers given when the model was trained."""

    X: Floats
    prediction: Floats
    score: Floats
    base: Floats
    contributions: Floats
    told: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """The columns beside the answer."""

    def save(self) -> bytes:
        """One npz file."""
        arrays = {**vars(self)}
        columns = {f"{TOLD}{name}": values for name, values in arrays.pop("told").items()}
        return packed({**arrays, **columns})

    @classmethod
    def load(cls, data: bytes) -> "Golden":
        """Restore what :meth:`save` wrote."""
        stored = unpacked(data)
        names = [name for name in stored if name.startswith(TOLD)]
        told = {name.removeprefix(TOLD): stored.pop(name) for name in names}
        return cls(**stored, told=told)


@dataclass(frozen=True)
class Bundle:
    """A loaded answer: model and calibrator with their schema."""

    answer: Answer
    model: Model
    calibrator: Calibrator
    digest: str = ""
    """SHA-256 of the manifest; empty until written."""
    golden: Golden | None = None
    details: Details | None = None

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
        """The calibrated answer and the score, then the columns beside them."""
        told: list[Typed] = [(detail.name, detail.dtype) for detail in self.answer.told]
        return [(self.answer.output, "double"), ("score", "double"), *told]

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """``(answer, score)``, each of shape (n_rows,); columns in the model's order."""
        scores = self.model.score(X)
        return self.calibrator.apply(scores), scores

    def tell(self, X: Floats, answers: Floats, scores: Floats) -> Mapping[str, NDArray[Any]]:
        """The columns beside answers and scores, each of shape (n_rows,)."""
        told: dict[str, NDArray[Any]] = {}
        if self.details is not None:
            level = with_shift(self.calibrator, 0.0).apply(scores)
            told |= self.details.of(self.model, X, answers, level)
        if self.answer.sets is not None:
            told[COLUMN] = self.answer.sets.words(answers)
        if self.answer.tiers is not None:
            told[TIER] = self.answer.tiers.words(answers)
        if isinstance(self.model, Repaired):
            told[REPAIRED] = self.model.words(X)
        return told

    def factors(self, X: Floats, answers: Floats, scores: Floats) -> Factors | None:
        """What makes the value that matters most; None without details."""
        if self.details is None:
            return None
        level = with_shift(self.calibrator, 0.0).apply(scores)
        return self.details.factors(self.model, X, answers, level)

    def explain(self, X: Floats) -> Explanation:
        """Contributions that add up to the score, before calibration."""
        return self.model.explain(X)

    def predict_frame(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """Columns ``<output>``, ``score`` and details for a frame with the features by name.

        Categories are given as words; one that was not learned counts as missing.

        Raises
        ------
        DataError
            If a column is missing, unknown or infinite.
        """
        import pandas as pd

        coded = categories.encoded(X, self.answer.columns)
        rows = matrix(coded, self.columns)
        answers, scores = self.predict(rows)
        told = self.tell(rows, answers, scores)
        return pd.DataFrame({self.answer.output: answers, "score": scores, **told}, index=X.index)

    @property
    def sample(self) -> tuple[Floats, Floats]:
        """The golden rows and their scores: who it was shown to work for."""
        assert self.golden is not None, "a written bundle has golden rows"
        return self.golden.X, self.golden.score

    def reasons_frame(self, X: "pd.DataFrame", top: int) -> list[list[str]]:
        """The largest contributions of each row in words; a frame as for :meth:`predict_frame`."""
        coded = categories.encoded(X, self.answer.columns)
        explained = self.explain(matrix(coded, self.columns))
        return list(reasons(self.answer.columns, self.answer.currency, explained, top))

    def reason_groups(self, X: "pd.DataFrame") -> list[str]:
        """The theme that raises each row's score most; a frame as for :meth:`predict_frame`."""
        coded = categories.encoded(X, self.answer.columns)
        explained = self.explain(matrix(coded, self.columns))
        return themes.largest(self.answer.columns, explained.contributions)

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
        told = self.tell(golden.X, prediction, scores)
        pairs += [(told[name], then) for name, then in golden.told.items()]
        return max(_difference(now, then) for now, then in pairs)

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
        assert self.golden is not None, "recorded() has golden rows"
        answers = reply["predictions"]
        told = self._columns_differ(start, answers, self.golden.told)
        return max(self._numbers_differ(start, answers), told)

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

    def _numbers_differ(self, start: int, answers: list[dict[str, Any]]) -> float:
        assert self.golden is not None, "recorded() has golden rows"
        numbers = {self.answer.output: self.golden.prediction, "score": self.golden.score}
        return self._columns_differ(start, answers, numbers)

    def _columns_differ(
        self, start: int, answers: list[dict[str, Any]], golden: Mapping[str, NDArray[Any]]
    ) -> float:
        return max(
            (
                _difference(np.array([a[name] for a in answers]), column[start:][: len(answers)])
                for name, column in golden.items()
            ),
            default=0.0,
        )


def write(bundle: Bundle, golden_rows: Floats, folder: Path, private: Ed25519PrivateKey) -> str:
    """Write and sign the bundle with the answers to ``golden_rows``; return its digest."""
    prediction, scores = bundle.predict(golden_rows)
    explanation = bundle.explain(golden_rows)
    told = bundle.tell(golden_rows, prediction, scores)
    golden = Golden(
        golden_rows, prediction, scores, explanation.base, explanation.contributions, told
    )
    files = {
        ANSWER: json.dumps(bundle.answer.model_dump(mode="json"), indent=1).encode(),
        GOLDEN: golden.save(),
        **bundle.calibrator.save(),
        **bundle.model.save(),
        **(bundle.details.save() if bundle.details else {}),
    }
    return write_files(files, folder, private)


def parse(files: Mapping[str, bytes], digest: str) -> Bundle:
    """The loaded answer, from verified bytes."""
    answer = Answer(**json.loads(files[ANSWER]))
    model = built(answer.model)
    model.load(files, [column.name for column in answer.columns])
    details: Details | None = resolve(DETAILS, answer.details) if answer.details else None
    if details is not None:
        details.load(files)
    golden = Golden.load(files[GOLDEN])
    return Bundle(answer, model, Calibrator.load(files), digest, golden, details)


def _difference(now: NDArray[Any], then: NDArray[Any]) -> float:
    """The largest; infinite where words differ."""
    if then.dtype.kind == "U":
        return 0.0 if np.array_equal(now, then) else float("inf")
    return float(np.abs(now - then).max())
