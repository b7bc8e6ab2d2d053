"""The scaled space in which customers are compared, learned once and the same for everybody.

Amounts and counts are heavy-tailed, so columns that are bounded below by 0 and not above are taken
by ``log(1 + x)``; each column is centred on its median and divided by its quartile range over 1.349
(the standard deviation of a normal distribution with that range), and what lies further out than
all but a few customers is counted as lying there. Words lie at their codes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from features.schema import FeatureColumn
from training.arrays import packed, unpacked
from training.contract import Floats

FILE = "space.npz"
NORMAL_QUARTILES = 1.3489795
"""Distance of the quartiles of a normal distribution in standard deviations."""
APART = 10.0
"""How far below all others a missing value lies, where it is a value of its own."""
GRID = 65
"""Quantiles kept of each column: the values that customers really have."""


@dataclass(frozen=True)
class Space:
    """Arrays of shape (n_columns,) that take a row there and back; answers need numpy alone."""

    columns: tuple[str, ...]
    logged: NDArray[np.bool_]
    """Columns taken by ``sign(x) log(1 + |x|)``."""
    centre: Floats
    scale: Floats
    low: Floats
    """Scaled values below count as this one; so do those above ``high``."""
    high: Floats
    missing: Floats
    """Scaled value as which a missing one counts."""
    levels: NDArray[np.str_]
    """Of a column of words their JSON list in the order of codes; of numbers empty."""
    grid: Floats
    """Quantiles of each column in its own unit, shape (GRID, n_columns)."""

    @classmethod
    def fit(
        cls,
        X: Floats,
        columns: Sequence[FeatureColumn],
        outlying: float = 0.001,
        missing_apart: bool = False,
    ) -> tuple["Space", dict[str, str]]:
        """The space of ``X`` of shape (n_rows, n_columns), and why columns were left out.

        A missing value counts as the median: it neither joins nor parts customers. Columns with one
        value only, or none, say nothing and are left out.

        Parameters
        ----------
        outlying
            Share of customers at each end whose values count as those of the next.
        missing_apart
            A missing value lies below all others instead of in the middle; that of a word always
            does.

        Raises
        ------
        DataError
            If no column is left.
        """
        logged = np.array([k.low == 0 and k.high is None and k.dtype != "string" for k in columns])
        T = _taken(np.asarray(X, dtype=np.float64), logged)
        left_out, kept = {}, []
        for j, column in enumerate(columns):
            known = T[~np.isnan(T[:, j]), j]
            if not len(known):
                left_out[column.name] = f"no customer has a value ({column.missing})"
            elif known.min() == known.max():
                left_out[column.name] = "the same for every customer who has a value"
            else:
                kept.append(j)
        if not kept:
            raise DataError.listing(
                f"{len(X)} customers do not differ in any column, so there are no segments; "
                "use other columns or bring more customers",
                [f"{name}: {why}" for name, why in left_out.items()],
            )
        T = T[:, kept]
        centre, low, high = np.nanquantile(T, [0.5, outlying, 1.0 - outlying], axis=0)
        scale = np.diff(np.nanquantile(T, [0.25, 0.75], axis=0), axis=0)[0] / NORMAL_QUARTILES
        deviation = np.nanstd(T, axis=0)
        # Where most customers have one value, the quartiles say little of how the others differ.
        scale = np.where(scale < deviation / 2, deviation, scale)
        worded = np.array([columns[j].dtype == "string" for j in kept])
        centre, scale = np.where(worded, 0.0, centre), np.where(worded, 1.0, scale)
        grid = np.nanquantile(X[:, kept], np.linspace(0, 1, GRID), axis=0, method="nearest")
        low, high = (low - centre) / scale, (high - centre) / scale
        flat = (low >= high) | worded
        lowest = np.where(flat, (np.nanmin(T, axis=0) - centre) / scale, low)
        missing = np.where(worded | missing_apart, lowest - APART, 0.0)
        low, high = np.where(flat, -np.inf, low), np.where(flat, np.inf, high)
        names = tuple(columns[j].name for j in kept)
        levels = np.array([json.dumps(columns[j].levels) if columns[j].levels else ""
                           for j in kept])  # fmt: skip
        space = cls(names, logged[kept], centre, scale, low, high, missing, levels, grid)
        return space, left_out

    def words(self, j: int) -> list[str]:
        """Words of a column in the order of their codes; none of a number's."""
        words: list[str] = json.loads(str(self.levels[j]) or "[]")
        return words

    def scaled(self, X: Floats) -> Floats:
        """Rows of shape (n_rows, n_columns) in the space."""
        Z = (_taken(np.asarray(X, dtype=np.float64), self.logged) - self.centre) / self.scale
        scaled: Floats = np.where(np.isnan(Z), self.missing, np.clip(Z, self.low, self.high))
        return scaled

    def unscaled(self, Z: Floats) -> Floats:
        """Rows of the space in the columns' own units."""
        T = Z * self.scale + self.centre
        back: Floats = np.where(self.logged, np.sign(T) * np.expm1(np.abs(T)), T)
        return back

    def save(self) -> dict[str, bytes]:
        """The arrays as one npz without pickle."""
        return {FILE: packed({f.name: np.array(getattr(self, f.name)) for f in fields(self)})}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> "Space":
        """Restore what :meth:`save` returned."""
        arrays = unpacked(files[FILE])
        columns = tuple(str(name) for name in arrays.pop("columns"))
        return cls(columns, **arrays)


def _taken(X: Floats, logged: NDArray[np.bool_]) -> Floats:
    taken: Floats = np.where(logged, np.sign(X) * np.log1p(np.abs(X)), X)
    return taken
