"""What every way to segment comes down to: cells of space, each of one segment.

The squared distance of a row ``z`` to a cell with box ``[lower, upper)``, centre ``c``, precision
``P`` and offset ``o`` is a sum over columns:

    D(z) = o + sum_j gap_j(z)^2 + sum_j (z - c)_j (P (z - c))_j

where ``gap_j`` is how far ``z_j`` lies outside the box. A row belongs to the segment of its nearest
cell. Rules are boxes without a centre; k-means are centres without a box and ``P`` the identity; a
Gaussian mixture has ``P`` its precisions and ``o = log det covariance - 2 log weight``, so ``D`` is
minus twice the log density up to a constant; value tiers crossed with clusters have both. Margins
between two segments, ``D_other - D_own``, add up over the columns exactly, whatever the way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from training.arrays import packed, unpacked
from training.contract import Floats

FILE = "cells.npz"
CHUNK = 50_000
"""Rows handled at once: bounds the memory to a few arrays of (CHUNK, n_cells)."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Arrays over cells; of equally near ones the first counts, so order them."""

    segment: Ints
    """Segment of each cell, shape (n_cells,); segments are 0, 1, ..., all of them there."""
    offset: Floats
    """Shape (n_cells,)."""
    lower: Floats
    """Shape (n_cells, n_columns); -inf where unbounded."""
    upper: Floats
    centre: Floats
    """Shape (n_cells, n_columns)."""
    precision: Floats
    """Symmetric, shape (n_cells, n_columns, n_columns); zero for a cell without a centre."""

    @classmethod
    def around(cls, centre: Floats, precision: Floats | None = None) -> "Cells":
        """One cell around each centre, without boxes; precision the identity unless given."""
        k, d = centre.shape
        P = np.broadcast_to(np.eye(d), (k, d, d)) if precision is None else precision
        open_ = np.full((k, d), np.inf)
        return cls(np.arange(k), np.zeros(k), -open_, open_, centre, np.array(P))

    @classmethod
    def boxes(cls, segment: Ints, lower: Floats, upper: Floats) -> "Cells":
        """Boxes without centres."""
        k, d = lower.shape
        nothing = np.zeros((k, d))
        return cls(segment, np.zeros(k), lower, upper, nothing, np.zeros((k, d, d)))

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return int(self.segment.max()) + 1

    def parts(self, Z: Floats, cells: Ints) -> Floats:
        """Terms of the squared distance of row i to cell ``cells[i]``, without the offset.

        Returns
        -------
        ndarray of shape (n_rows, n_columns)
        """
        away = Z - self.centre[cells]
        gap = np.maximum(self.lower[cells] - Z, 0.0) + np.maximum(Z - self.upper[cells], 0.0)
        found: Floats = gap**2 + away * np.einsum("nj,njk->nk", away, self.precision[cells])
        return found

    def distances(self, Z: Floats) -> Floats:
        """Squared distances to every cell, shape (n_rows, n_cells)."""
        found = np.empty((len(Z), len(self.segment)))
        for cell in range(len(self.segment)):
            low, high, P = self.lower[cell], self.upper[cell], self.precision[cell]
            found[:, cell] = self.offset[cell]
            held = np.isfinite(low) | np.isfinite(high)
            if held.any():
                own = Z[:, held]
                gap = np.maximum(low[held] - own, 0.0) + np.maximum(own - high[held], 0.0)
                found[:, cell] += (gap**2).sum(axis=1)
            if P.any():
                away = Z - self.centre[cell]
                found[:, cell] += np.einsum("nj,nj->n", away, away @ P)
        return found

    def along(self, Z: Floats, j: int) -> Callable[[Floats], Floats]:
        """Squared distances while column ``j`` has other values, all else equal.

        Returns
        -------
        callable
            Values of shape (n_rows, n_values) -> distances to every cell, shape (n_rows, n_values,
            n_cells), from the parts of the sum that change: one step costs no row anew.
        """
        low, high = self.lower.copy(), self.upper.copy()
        low[:, j], high[:, j] = -np.inf, np.inf
        # Gaps of the other columns, summed without this one's: zero exactly where there are none.
        rest = replace(self, lower=low, upper=high).distances(Z)[:, None, :]
        across, own = self.precision[:, j], Z[:, j, None]
        slope = 2 * (Z @ across.T - (self.centre * across).sum(axis=1))[:, None, :]

        def at(values: Floats) -> Floats:
            step, value = (values - own)[..., None], values[..., None]
            gap = np.maximum(self.lower[:, j] - value, 0) + np.maximum(value - self.upper[:, j], 0)
            found: Floats = rest + gap**2 + step * (slope + step * across[:, j])
            return found

        return at

    def nearest(self, Z: Floats) -> tuple[Ints, Ints, Floats]:
        """Own cell, the nearest cell of another segment, and the squared distances to both.

        With one segment only, the other cell is the own one.

        Returns
        -------
        own, other : ndarray of shape (n_rows,)
        distance : ndarray of shape (n_rows, 2)
        """
        own, other = np.empty(len(Z), np.int64), np.empty(len(Z), np.int64)
        distance = np.empty((len(Z), 2))
        for at in range(0, len(Z), CHUNK):
            rows = slice(at, at + CHUNK)
            D = self.distances(Z[rows])
            each = np.arange(len(D))
            own[rows] = first = D.argmin(axis=1)
            distance[rows, 0] = D[each, first]
            alone = np.where(self.segment == self.segment[first][:, None], np.inf, D)
            second = np.where(np.isinf(alone).all(axis=1), first, alone.argmin(axis=1))
            other[rows], distance[rows, 1] = second, D[each, second]
        return own, other, distance

    def assign(self, Z: Floats) -> Ints:
        """Segment of each row, shape (n_rows,)."""
        found = [
            self.segment[self.distances(Z[at : at + CHUNK]).argmin(axis=1)]
            for at in range(0, len(Z), CHUNK)
        ]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def widened(self, places: Ints, n_columns: int) -> "Cells":
        """The same cells among more columns; column j becomes column ``places[j]``."""
        k = len(self.segment)
        lower, centre = np.full((k, n_columns), -np.inf), np.zeros((k, n_columns))
        upper, precision = -lower, np.zeros((k, n_columns, n_columns))
        lower[:, places], upper[:, places] = self.lower, self.upper
        centre[:, places] = self.centre
        precision[:, places[:, None], places[None, :]] = self.precision
        return Cells(self.segment, self.offset, lower, upper, centre, precision)

    def relabelled(self, names: Ints) -> "Cells":
        """The same cells with segment ``s`` called ``names[s]``; several may become one."""
        return Cells(
            names[self.segment], self.offset, self.lower, self.upper, self.centre, self.precision
        )

    def save(self) -> dict[str, bytes]:
        """The arrays as one npz without pickle."""
        return {FILE: packed({f.name: getattr(self, f.name) for f in fields(self)})}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> "Cells":
        """Restore what :meth:`save` returned."""
        return cls(**unpacked(files[FILE]))
