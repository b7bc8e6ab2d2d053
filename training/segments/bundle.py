"""The bundle of a segmentation: space, cells and confidence, with what segments are called.

Beside the common files: ``space.npz``, ``cells.npz``, ``confidence.npz`` and ``golden.npz`` with
rows and the answers given to them at training time. Answers need numpy alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from features.schema import FeatureColumn
from features.settings import Part, Strict
from training import categories
from training.arrays import packed, unpacked
from training.bundle import ANSWER, Facts, Recorded, Shown, Typed, write_files
from training.contract import Explanation, Floats, matrix
from training.segments.segmentation import Assigned, Change, Segmentation
from training.sentences import Language, meaning, say, segment_name, stater

if TYPE_CHECKING:
    import pandas as pd

GOLDEN = "golden.npz"
BATCH_ROWS = 200
EXPLAINED_ROWS = 50


class Segment(Strict):
    """One segment as it was when it was learned."""

    id: str
    """Letter that it keeps from version to version."""
    name: str
    words: str
    """In words and numbers."""
    customers: int
    share: float
    value_share: float
    buying: float
    """Share that bought in the period that followed."""
    rule: str
    """At most three conditions that find it."""
    precision: float
    coverage: float
    medians: dict[str, float]
    """Column -> median of its customers; columns that nobody has a value of are left out."""


class SegmentsAnswer(Facts):
    """What a segmentation answers."""

    space: str
    """What margins are measured in."""
    way: Part
    nature: str
    """Rules, clusters, or both."""
    value: str
    """Column that says what a customer is worth."""
    columns: tuple[FeatureColumn, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Golden:
    """Rows and the answers given when the segmentation was learned."""

    X: Floats
    segment: Floats
    runner_up: Floats
    margin: Floats
    confidence: Floats
    base: Floats
    contributions: Floats


@dataclass(frozen=True)
class SegmentsBundle:
    """A loaded segmentation."""

    answer: SegmentsAnswer
    segmentation: Segmentation
    digest: str = ""
    """SHA-256 of the manifest; empty until written."""
    golden: Golden | None = None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Feature columns in order."""
        return self.segmentation.columns

    @property
    def inputs(self) -> list[Typed]:
        """The feature columns."""
        return [
            (k.name, "string" if k.dtype == "string" else "double") for k in self.answer.columns
        ]

    @property
    def outputs(self) -> list[Typed]:
        """Segment and runner-up by letter and name, with margin and confidence."""
        return [
            ("segment", "string"), ("name", "string"), ("confidence", "double"),
            ("margin", "double"), ("runner_up", "string"), ("runner_up_name", "string"),
        ]  # fmt: skip

    def assign(self, X: Floats) -> Assigned:
        """Segments of rows of shape (n_rows, n_columns)."""
        return self.segmentation.assign(X)

    def explain(self, X: Floats) -> Explanation:
        """What keeps each row out of its runner-up, as a sum over columns."""
        return self.segmentation.explain(X)

    def told(self, X: Floats) -> list[dict[str, Any]]:
        """The answers to rows, as they are served."""
        found, segments = self.assign(X), self.answer.segments
        return [
            {
                "segment": segments[own].id, "name": segments[own].name,
                "confidence": confidence, "margin": margin,
                "runner_up": segments[other].id, "runner_up_name": segments[other].name,
            }
            for own, other, margin, confidence in zip(
                found.segment.tolist(), found.runner_up.tolist(), found.margin.tolist(),
                found.confidence.tolist(), strict=True,
            )
        ]  # fmt: skip

    def predict_frame(self, X: "pd.DataFrame") -> "pd.DataFrame":
        """The answers for a frame with the feature columns by name.

        Raises
        ------
        DataError
            If a column is missing, unknown or infinite.
        """
        import pandas as pd

        told = self.told(self._read(X))
        return pd.DataFrame(told, index=X.index, columns=[name for name, _ in self.outputs])

    def _read(self, X: "pd.DataFrame") -> Floats:
        return matrix(categories.encoded(X, self.answer.columns), self.columns)

    def reasons(
        self, found: Explanation, row: int, language: Language = "en"
    ) -> list[tuple[int, str]]:
        """Columns of an explained row by falling contribution, each with its sentence."""
        moved, known = found.contributions[row], np.take(found.values, row, axis=0)
        order = np.argsort(-np.abs(moved), kind="stable").tolist()
        columns, currency = self.answer.columns, self.answer.currency
        ways = [say(name, language) for name in ("for other", "for none", "for own")]
        return [
            (j, stater(columns[j], currency, language)(known[j]) + ways[1 + int(np.sign(moved[j]))])
            for j in order
        ]

    @property
    def sample(self) -> tuple[Floats, Floats]:
        """The golden rows and their margins: who it was learned for."""
        return self._golden.X, self._golden.margin

    def change_said(self, change: Change, language: Language = "en") -> str:
        """The least change of one column that moves a customer, in words."""
        column = next(k for k in self.answer.columns if k.name == change.column)
        state = stater(column, self.answer.currency, language, means=False)
        to = self.answer.segments[change.segment]
        return say(
            "change", language, what=meaning(column.meaning, language), now=state(change.before),
            then=state(change.after), id=to.id, name=segment_name(to.name, language),
        )  # fmt: skip

    def reasons_frame(self, X: "pd.DataFrame", top: int) -> list[list[str]]:
        """For each row the ``top`` largest contributions, each as a short sentence."""
        found = self.explain(self._read(X))
        return [
            [text for j, text in self.reasons(found, i)[:top] if found.contributions[i, j] != 0.0]
            for i in range(len(X))
        ]

    def replay(self) -> float:
        """Largest difference between the golden answers and today's, over all their numbers."""
        golden = self._golden
        now = _answers(self.segmentation, golden.X)
        return max(
            float(np.abs(now[name] - getattr(golden, name)).max(initial=0.0)) for name in now
        )

    @property
    def _golden(self) -> Golden:
        assert self.golden is not None, "a written bundle has golden rows"
        return self.golden

    def recorded(self) -> Iterator[Recorded]:
        """All golden rows to be assigned, the first ones to be explained."""
        rows = categories.rows(self.answer.columns, self._golden.X)
        for start in range(0, len(rows), BATCH_ROWS):
            asked = {"rows": rows[start : start + BATCH_ROWS]}
            yield Recorded("/predict", asked, partial(self._differ, start))
        yield Recorded("/explain", {"rows": rows[:EXPLAINED_ROWS]}, self._explained_differ)

    def _differ(self, start: int, reply: dict[str, Any]) -> float:
        return self._answers_differ(start, reply["predictions"])

    def _answers_differ(self, start: int, told: list[dict[str, Any]]) -> float:
        golden, differences = self._golden, [0.0]
        ids = [segment.id for segment in self.answer.segments]
        for i, answer in enumerate(told, start):
            own, other = ids[int(golden.segment[i])], ids[int(golden.runner_up[i])]
            if (answer["segment"], answer["runner_up"]) != (own, other):
                return float("inf")
            differences.append(abs(answer["margin"] - float(golden.margin[i])))
            differences.append(abs(answer["confidence"] - float(golden.confidence[i])))
        return float(np.max(differences))

    def _explained_differ(self, reply: dict[str, Any]) -> float:
        golden, told = self._golden, reply["explanations"]
        differences = [self._answers_differ(0, told)]
        for i, answer in enumerate(told):
            moved = {item["feature"]: item["contribution"] for item in answer["contributions"]}
            now = np.array([answer["base"], *(moved[name] for name in self.columns)])
            then = [golden.base[i], *golden.contributions[i]]
            differences.append(float(np.abs(now - then).max()))
        return float(np.max(differences))

    def shown(self) -> Shown:
        """The golden row that stands nearest to a border, explained."""
        nearest = int(np.argmin(self._golden.margin))
        rows = categories.rows(self.answer.columns, self._golden.X[nearest : nearest + 1])
        return Shown("/explain", {"rows": rows}, _say)


def _say(reply: dict[str, Any]) -> list[str]:
    answer = reply["explanations"][0]
    change = answer["change"]
    return [
        f"a golden customer of segment {answer['segment']} ({answer['name']}), "
        f"next {answer['runner_up']} ({answer['runner_up_name']}):",
        *(f"  - {said}" for said in answer["reasons"]),
        f"  - {change['text'] if change else 'no single column moves the customer'}",
    ]


def _answers(segmentation: Segmentation, X: Floats) -> dict[str, Floats]:
    found, explained = segmentation.assign(X), segmentation.explain(X)
    return {
        "segment": found.segment.astype(np.float64),
        "runner_up": found.runner_up.astype(np.float64),
        "margin": found.margin, "confidence": found.confidence,
        "base": explained.base, "contributions": explained.contributions,
    }  # fmt: skip


def write(
    bundle: SegmentsBundle, golden_rows: Floats, folder: Path, private: Ed25519PrivateKey
) -> str:
    """Write and sign the bundle with the answers to ``golden_rows``; return its digest."""
    answers = _answers(bundle.segmentation, golden_rows)
    files = {
        ANSWER: json.dumps(bundle.answer.model_dump(mode="json"), indent=1).encode(),
        GOLDEN: packed({"X": golden_rows, **answers}),
        **bundle.segmentation.save(),
    }
    return write_files(files, folder, private)


def parse(files: Mapping[str, bytes], digest: str) -> SegmentsBundle:
    """The loaded segmentation, from verified bytes."""
    answer = SegmentsAnswer(**json.loads(files[ANSWER]))
    golden = Golden(**unpacked(files[GOLDEN]))
    return SegmentsBundle(answer, Segmentation.load(files), digest, golden)
