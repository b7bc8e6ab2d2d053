"""Drift: whether those who are answered still look like those the answer was shown to work for.

A bundle's golden rows are a random sample of the customers at its test cutoff. Their deciles are
the bins that later rows are counted in: a log needs to keep no value, only the number of its bin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaincinv

from features.schema import FeatureColumn
from training.contract import Floats

if TYPE_CHECKING:
    from training.bundle import Loaded

Codes = NDArray[np.uint8]

MISSING = 0
"""Bin of missing values."""
SCORE = "score"
"""Name of the last binned column: score before calibration, margin, or a list's best score."""
LARGE = 0.2
"""A population stability index from here on is an alert, the customary bound for "has shifted"."""
SURE = 0.999
"""An alert also exceeds this quantile of what samples of these sizes differ by anyway."""
_LEAST_SHARE = 0.5
"""Rows that an empty bin counts as, so that the logarithm is finite."""


@dataclass(frozen=True)
class Bins:
    """Where a bundle's columns and its score are cut, and how its golden rows fill the bins."""

    columns: tuple[FeatureColumn, ...]
    edges: tuple[Floats, ...]
    """Per column and for the score: rising edges; a value on an edge belongs above it."""
    then: tuple[NDArray[np.int64], ...]
    """Golden rows in each bin; the first bin holds the missing ones."""

    @classmethod
    def of(cls, bundle: "Loaded") -> "Bins":
        """Bins of a loaded bundle: its golden rows' deciles, or one for each word."""
        X, scores = bundle.sample
        values = np.column_stack([X, scores])
        words = [len(column.levels) for column in bundle.answer.columns]
        edges = tuple(
            np.arange(count, dtype=np.float64) if count else _deciles(column)
            for count, column in zip([*words, 0], values.T, strict=True)
        )
        bare = cls(bundle.answer.columns, edges, ())
        codes = bare.codes(X, scores)
        return cls(bundle.answer.columns, edges, bare.counted(codes))

    @property
    def names(self) -> list[str]:
        """The binned columns."""
        return [*(column.name for column in self.columns), SCORE]

    def codes(self, X: Floats, scores: Floats) -> Codes:
        """The bin of each value, shape (n_rows, n_features + 1)."""
        codes = np.empty((len(X), len(self.edges)), dtype=np.uint8)
        for j, (edges, values) in enumerate(zip(self.edges, (*X.T, scores), strict=True)):
            found = 1 + np.searchsorted(edges, values, side="right")
            codes[:, j] = np.where(np.isnan(values), MISSING, found)
        return codes

    def counted(self, codes: Codes) -> tuple[NDArray[np.int64], ...]:
        """How many rows each bin of each column holds."""
        return tuple(
            np.bincount(column, minlength=len(edges) + 2)
            for edges, column in zip(self.edges, codes.T, strict=True)
        )

    def table(self, now: Sequence[NDArray[np.int64]]) -> pd.DataFrame:
        """One line a column, the largest index first: what shifted, by how much, and where most."""
        lines = []
        for j, name in enumerate(self.names):
            before, after = self.then[j], now[j]
            value, chance = psi(before, after)
            shares = [counts / max(counts.sum(), 1) for counts in (before, after)]
            k = int(np.argmax(np.abs(shares[1] - shares[0])))
            lines.append({
                "column": name, "psi": value, "by_chance": chance,
                "rows_then": int(before.sum()), "rows_now": int(after.sum()),
                "missing_then": shares[0][MISSING], "missing_now": shares[1][MISSING],
                "where": self._said(j, k), "share_then": shares[0][k], "share_now": shares[1][k],
                "alert": value >= LARGE and value > chance,
            })  # fmt: skip
        return pd.DataFrame(lines).sort_values("psi", ascending=False, ignore_index=True)

    def _said(self, j: int, code: int) -> str:
        """A bin in words."""
        if code == MISSING:
            return "missing"
        edges, column = self.edges[j], self.columns[j] if j < len(self.columns) else None
        if column is not None and column.levels:
            return repr(column.levels[code - 2])
        if code == 1:
            return f"below {edges[0]:.4g}" if len(edges) else "any"
        if code > len(edges):
            return f"{edges[-1]:.4g} or more"
        return f"{edges[code - 2]:.4g} to {edges[code - 1]:.4g}"


def psi(then: NDArray[np.int64], now: NDArray[np.int64]) -> tuple[float, float]:
    """Population stability index of two sets of counts, and what chance alone reaches.

    ``sum((q - p) ln(q / p))`` over the shares of the bins (Siddiqi 2006, section 7). For samples of
    ``n`` and ``m`` rows of one population it is about ``(1/n + 1/m)`` times a chi-squared number
    with one degree of freedom less than there are bins (Yurdakul 2018, equation 3.11).
    """
    filled = (then + now) > 0
    counts = [np.maximum(c[filled], _LEAST_SHARE) for c in (then, now)]
    if len(counts[0]) < 2 or not now.sum():
        return 0.0, 0.0
    p, q = (c / c.sum() for c in counts)
    beyond = 2 * gammaincinv((len(p) - 1) / 2, SURE)  # the chi-squared quantile
    noise = beyond * (1 / then.sum() + 1 / now.sum())
    return float(np.sum((q - p) * np.log(q / p))), float(noise)


def alerts(table: pd.DataFrame) -> list[str]:
    """A sentence for each column that shifted, with the size of the shift."""
    return [
        f"{line.column} has shifted (index {line.psi:.2f}, an alert from {LARGE:g}): "
        f"{line.share_then:.0%} were {line.where}, now {line.share_now:.0%}"
        for line in table[table["alert"]].itertuples()
    ]


def _deciles(values: Floats) -> Floats:
    known = values[~np.isnan(values)]
    if not len(known):
        return np.empty(0)
    edges: Floats = np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9)))
    return edges
