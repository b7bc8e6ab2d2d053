"""A learned segmentation: who belongs where, how surely, why, and what would change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.schema import FeatureColumn
from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, matrix
from training.segments.cells import CHUNK, Cells, Ints
from training.segments.space import GRID, Space
from training.segments.ways import Way

FILE = "confidence.npz"
SPACE = "squared distance"
HALVINGS = 30
NUDGE = 1e-6


@dataclass(frozen=True)
class Assigned:
    """Where rows belong; arrays of shape (n_rows,)."""

    segment: Ints
    runner_up: Ints
    """The nearest other segment; the own one where there is no other."""
    margin: Floats
    """Squared distance to the runner-up less that to the own segment; 0 = on the border."""
    confidence: Floats
    """Share of segmentations learned anew, each from other customers, that agree."""


@dataclass(frozen=True)
class Change:
    """The least change of one column that moves a row; all else equal."""

    column: str
    before: float
    """The row's value; NaN = missing."""
    after: float
    segment: int
    """Where the row then belongs."""


@dataclass(frozen=True)
class Segmentation:
    """Space, cells and the confidence learned for them."""

    space: Space
    cells: Cells
    margins: Floats
    """Rising margins at which the confidence of each segment is known, (n_segments, n_knots)."""
    confidences: Floats
    """Confidence there, of the same shape."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Feature columns in order."""
        return self.space.columns

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return self.cells.n_segments

    def assign(self, X: Floats) -> Assigned:
        """Segments of rows of shape (n_rows, n_columns); NaN = missing."""
        own, other, distance = self.cells.nearest(self.space.scaled(X))
        margin = np.maximum(distance[:, 1] - distance[:, 0], 0.0)
        segment, confidence = self.cells.segment[own], np.empty(len(margin))
        for s in np.unique(segment):
            there = segment == s
            confidence[there] = np.interp(margin[there], self.margins[s], self.confidences[s])
        return Assigned(segment, self.cells.segment[other], margin, confidence)

    def rows(self, X: pd.DataFrame) -> Floats:
        """The segmentation's columns of a frame, shape (n_rows, n_columns)."""
        return matrix(X[list(self.columns)], self.columns)

    def labels(self, X: pd.DataFrame) -> Ints:
        """Segments of the rows of a frame."""
        return self.cells.assign(self.space.scaled(self.rows(X)))

    def explain(self, X: Floats) -> Explanation:
        """The margin as a sum over columns: what keeps a row out of its runner-up.

        A column's contribution is how much nearer it puts the row to its own cell than to the
        runner-up's; below 0 it speaks for the runner-up.
        """
        Z = self.space.scaled(X)
        own, other, _ = self.cells.nearest(Z)
        base = self.cells.offset[other] - self.cells.offset[own]
        contributions = self.cells.parts(Z, other) - self.cells.parts(Z, own)
        return Explanation(base, contributions, X, self.columns, SPACE)

    def least_changes(self, X: Floats) -> list[Change | None]:
        """For each row the least change of one column that moves it to another segment.

        Each column of numbers is tried at the quantiles of what customers have, outwards from the
        row's own value, then the border is found by halving. Least is in robust deviations. None
        where no single column moves the row.
        """
        Z, block = self.space.scaled(X), max(CHUNK // GRID, 1)
        found: list[Change | None] = []
        for at in range(0, len(X), block):
            found += self._changes(X[at : at + block], Z[at : at + block])
        return found

    def _changes(self, X: Floats, Z: Floats) -> list[Change | None]:
        least, column = np.full(len(Z), np.inf), np.zeros(len(Z), np.int64)
        own, there, tried = self.cells.assign(Z), Z.copy(), self.space.scaled(self.space.grid)
        for j in range(len(self.columns)):
            if self.space.words(j):
                continue
            border = self._border(Z, own, j, tried[:, j])
            nearer = np.flatnonzero(np.abs(border - Z[:, j]) < least)
            there[nearer], column[nearer] = Z[nearer], j
            there[nearer, j] = border[nearer]
            least[nearer] = np.abs(border - Z[:, j])[nearer]
        segment, told = self.cells.assign(there), self.space.unscaled(there)
        return [
            Change(self.columns[j], float(X[i, j]), float(told[i, j]), s) if least[i] < np.inf
            else None
            for i, (j, s) in enumerate(zip(column.tolist(), segment.tolist(), strict=True))
        ]  # fmt: skip

    def _border(self, Z: Floats, own: Ints, j: int, tried: Floats) -> Floats:
        """The values of column ``j`` nearest to the rows' own that move them; NaN = none does."""
        now, along = Z[:, j], self.cells.along(Z, j)

        def moves(values: Floats) -> NDArray[np.bool_]:
            at: NDArray[np.bool_] = self.cells.segment[along(values).argmin(axis=2)] != own[:, None]
            return at

        away = np.where(moves(np.tile(tried, (len(Z), 1))), np.abs(tried - now[:, None]), np.inf)
        reached = tried[away.argmin(axis=1)]
        moved, stays = reached, now
        for _ in range(HALVINGS):
            probe = (stays + moved) / 2
            beyond = moves(probe[:, None])[:, 0]
            stays, moved = np.where(beyond, stays, probe), np.where(beyond, probe, moved)
        # So far beyond the border that the value, told in its own unit, is beyond it too.
        moved = moved + NUDGE * np.sign(moved - now)
        # A missing value that lies apart is no place to walk from: the nearest one tried stands.
        apart = (now == self.space.missing[j]) & (now != 0.0)
        moved = np.where(apart, reached, moved)
        return np.where(np.isfinite(away).any(axis=1), moved, np.nan)

    def save(self) -> dict[str, bytes]:
        """File name -> bytes; npz without pickle."""
        own = packed({"margins": self.margins, "confidences": self.confidences})
        return {**self.space.save(), **self.cells.save(), FILE: own}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> "Segmentation":
        """Restore what :meth:`save` returned."""
        return cls(Space.load(files), Cells.load(files), **unpacked(files[FILE]))


@dataclass(frozen=True)
class Learned:
    """A segmentation just learned, without confidence, and what learning it said."""

    segmentation: Segmentation
    places: Ints
    """The way's segment ``s`` is segment ``places[s]`` here."""
    left_out: Mapping[str, str]
    """Columns that say nothing, and why."""


def learn(
    way: Way, X: pd.DataFrame, schema: Sequence[FeatureColumn], value: str, *, seed: int
) -> Learned:
    """Segment the customers of ``X`` by ``way``.

    Rows are put in an order of their own first, so that theirs cannot matter; segments are numbered
    by falling mean of ``value``, those without anybody last.

    Raises
    ------
    DataError
        If customers are too few or do not differ.
    """
    from threadpoolctl import threadpool_limits

    declared = {column.name: column for column in schema}
    columns = [declared[name] for name in way.columns()]
    rows = matrix(X[list(way.columns())], way.columns())
    worth = np.nan_to_num(X[value].to_numpy(np.float64))
    order = np.lexsort((worth, *rows.T[::-1]))
    rows, worth = rows[order], worth[order]
    space, left_out = Space.fit(rows, columns, missing_apart=way.nature == "rules")
    rows = rows[:, [k.name in space.columns for k in columns]]
    with threadpool_limits(1):  # sums over threads differ in their last bits from run to run
        cells = way.fit(space, space.scaled(rows), seed=seed)
    unsure = np.zeros((cells.n_segments, 1))
    found = Segmentation(space, cells, unsure, unsure)
    segment = found.assign(rows).segment
    counts = np.bincount(segment, minlength=cells.n_segments)
    sums = np.bincount(segment, worth, minlength=cells.n_segments)
    mean = np.divide(sums, counts, out=np.full(len(counts), -np.inf), where=counts > 0)
    places = np.empty(len(counts), np.int64)
    places[np.lexsort((np.arange(len(counts)), -mean))] = np.arange(len(counts))
    ordered = replace(found, cells=cells.relabelled(places))
    return Learned(ordered, places, left_out)
