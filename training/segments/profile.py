"""What segments are like: sizes, values, traits, rules, and how far they differ from each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.schema import FeatureColumn
from training.contract import Floats
from training.segments.cells import Ints
from training.segments.space import Space

OF_RFM = (
    "rfm__", "orders__orders_", "orders__spend_", "orders__active_months", "orders__since_",
    "orders__season_", "cadence__year_ago_orders", "cadence__overdue", "cadence__expected_in",
)  # fmt: skip
"""Beginnings of columns that measure R, F or M: segments have to differ beyond them."""
Z95 = 1.959964
DEPTH = 3
EXAMPLES = 3
"""Typical customers shown of each segment."""
LEAST_SHOWN = 20
"""Customers below which nothing of a segment is shown in a table that leaves the house."""


@dataclass(frozen=True)
class Profiles:
    """Columns by segment, over all numeric feature columns; segments in their order."""

    columns: tuple[str, ...]
    sizes: Ints
    median: Floats
    """In the columns' own units, shape (n_segments, n_columns); NaN where nobody has a value."""
    mean: Floats
    error: Floats
    """Standard errors of the means."""
    shift: Floats
    """Mean less that of everybody, in standard deviations of the scaled column; NaN where fewer
    than half of a segment's customers have a value."""

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """Tidy: segment, column, median, mean, ci_low, ci_high, shift."""
        k, d = self.mean.shape
        return pd.DataFrame({
            "segment": np.repeat(list(names), d), "column": np.tile(self.columns, k),
            "median": self.median.ravel(), "mean": self.mean.ravel(),
            "ci_low": (self.mean - Z95 * self.error).ravel(),
            "ci_high": (self.mean + Z95 * self.error).ravel(), "shift": self.shift.ravel(),
        })  # fmt: skip

    def apart(self, names: Sequence[str]) -> pd.DataFrame:
        """For each pair of segments the columns beyond R, F, M whose 95 % intervals are apart."""
        beyond = [j for j, name in enumerate(self.columns) if not name.startswith(OF_RFM)]
        low, high = self.mean - Z95 * self.error, self.mean + Z95 * self.error
        lines = []
        for a in range(len(names)):
            for b in range(a + 1, len(names)):
                apart = (low[a] > high[b]) | (low[b] > high[a])  # False where one is not known
                found = [j for j in beyond if apart[j]]
                found.sort(key=lambda j: -abs(self.shift[a, j] - self.shift[b, j]))
                lines.append({
                    "segment": names[a], "other": names[b], "columns": len(found),
                    "most": ", ".join(self.columns[j] for j in found[:3]) or "none",
                })  # fmt: skip
        return pd.DataFrame(lines, columns=["segment", "other", "columns", "most"])


def profiles(X: pd.DataFrame, schema: Sequence[FeatureColumn], labels: Ints, k: int) -> Profiles:
    """Profiles of segments over the numeric columns in which customers differ."""
    numeric = [c for c in schema if c.dtype != "string" and c.name in X]
    values = X[[c.name for c in numeric]].to_numpy(np.float64)
    space, _ = Space.fit(values, numeric)
    kept = [c.name in space.columns for c in numeric]
    values = values[:, kept]
    Z = np.where(np.isnan(values), np.nan, space.scaled(values))
    everybody, spread = np.nanmean(Z, axis=0), np.maximum(np.nanstd(Z, axis=0), 1e-12)
    shape = (k, values.shape[1])
    median, mean, error, shift = (np.full(shape, np.nan) for _ in range(4))
    for s in range(k):
        own, scaled = values[labels == s], Z[labels == s]
        n = (~np.isnan(own)).sum(axis=0)
        some = n > 0
        if not some.any():
            continue
        median[s, some] = np.nanmedian(own[:, some], axis=0)
        mean[s, some] = np.nanmean(own[:, some], axis=0)
        usual = 2 * n >= len(own)
        shift[s, usual] = (np.nanmean(scaled[:, usual], axis=0) - everybody[usual]) / spread[usual]
        more = n > 1
        error[s, more] = np.nanstd(own[:, more], axis=0, ddof=1) / np.sqrt(n[more])
    sizes = np.bincount(labels, minlength=k)
    return Profiles(space.columns, sizes, median, mean, error, shift)


def withheld(
    table: pd.DataFrame, values: Sequence[str], customers: str = "customers"
) -> pd.DataFrame:
    """The table without what fewer than 20 customers would show.

    Parameters
    ----------
    values
        Columns that tell of them.
    customers
        Column that says how many they are; nobody is no secret.
    """
    few = (table[customers] > 0) & (table[customers] < LEAST_SHOWN)
    shown = table.astype(dict.fromkeys([customers, *values], object))
    shown.loc[few, customers] = f"under {LEAST_SHOWN}"
    shown.loc[few, list(values)] = "not shown"
    return shown


def examples(X: pd.DataFrame, columns: Sequence[str], labels: Ints, k: int) -> pd.DataFrame:
    """Typical customers of each segment: values of those nearest to its middle, coarsened.

    Values have two significant digits and no number of a customer beside them; segments of fewer
    than 20 customers show none.

    Returns
    -------
    DataFrame
        Tidy: segment (its place), example, column, value.
    """
    values = X[list(columns)].to_numpy(np.float64)
    spread = np.nanstd(values, axis=0)
    lines: list[dict[str, object]] = []
    for s in range(k):
        own = values[labels == s]
        if len(own) < LEAST_SHOWN:
            continue
        away = np.nan_to_num((own - np.nanmedian(own, axis=0)) / np.maximum(spread, 1e-12))
        order = np.lexsort((*own.T[::-1], (away**2).sum(axis=1)))[:EXAMPLES]
        lines += [
            {"segment": s, "example": n, "column": column, "value": float(f"{value:.1e}")}
            for n, row in enumerate(own[order], 1)
            for column, value in zip(columns, row, strict=True)
        ]
    return pd.DataFrame(lines, columns=["segment", "example", "column", "value"])


def rules(
    X: pd.DataFrame, columns: Sequence[str], labels: Ints, names: Sequence[str]
) -> pd.DataFrame:
    """For each segment the rule of at most three conditions that finds it best.

    The leaf with the best F1 of a tree of depth three, one segment against all others (Breiman et
    al. 1984). Unknown values count as the median.

    Returns
    -------
    DataFrame
        segment, rule, precision, coverage, customers (whom the rule names).
    """
    from sklearn.tree import DecisionTreeClassifier

    values = X[list(columns)].to_numpy(np.float64)
    middle = np.nanmedian(values, axis=0)
    values = np.where(np.isnan(values), middle, values)
    lines = []
    for s, name in enumerate(names):
        own = labels == s
        line = {"segment": name, "rule": "nobody is in it", "precision": 0.0, "coverage": 0.0,
                "customers": 0}  # fmt: skip
        if own.any():
            least = max(2, int(0.2 * own.sum()))
            tree = DecisionTreeClassifier(
                max_depth=DEPTH, min_samples_leaf=least, class_weight="balanced", random_state=0
            ).fit(values, own)
            line |= _best_leaf(tree.tree_, tree.apply(values), own, columns)
        lines.append(line)
    return pd.DataFrame(lines)


def _best_leaf(
    tree: object, leaf: Ints, own: np.ndarray, columns: Sequence[str]
) -> dict[str, object]:
    scores = {}
    for node in np.unique(leaf):
        inside = leaf == node
        hit = int((inside & own).sum())
        scores[int(node)] = (2.0 * hit / (inside.sum() + own.sum()), hit, int(inside.sum()))
    best = max(scores, key=lambda node: (scores[node][0], -node))
    _, hit, named = scores[best]
    return {
        "rule": _conditions(tree, best, columns), "precision": hit / max(named, 1),
        "coverage": hit / int(own.sum()), "customers": named,
    }  # fmt: skip


def _conditions(tree: object, node: int, columns: Sequence[str]) -> str:
    """The path to ``node``, with one condition for each column and side."""
    parent = {}
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    for i in range(len(left)):
        if left[i] >= 0:
            parent[int(left[i])], parent[int(right[i])] = (i, "<="), (i, ">")
    bounds: dict[tuple[str, str], float] = {}
    while node in parent:
        node, side = parent[node]
        column = columns[int(tree.feature[node])]  # type: ignore[attr-defined]
        edge = float(tree.threshold[node])  # type: ignore[attr-defined]
        # Going up, the edges nearest to the leaf come first, and they are the tighter ones.
        bounds.setdefault((column, side), edge)
    said = [f"{column} {side} {edge:.6g}" for (column, side), edge in sorted(bounds.items())]
    return " and ".join(said) or "everybody"
