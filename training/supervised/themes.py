"""Reasons by theme: contributions summed over the columns that are about the same thing."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.schema import FeatureColumn
from features.themes import themes
from training.contract import Explanation, Floats

WORTH = "orders__spend_365d"
"""What a customer is valued by, where the features have it."""
NONE = "none raises it"


def sums(columns: Sequence[FeatureColumn], contributions: Floats) -> tuple[list[str], Floats]:
    """Themes, and what each moves the score by, shape (n_rows, n_themes).

    Every column has one theme, so the sums add up to the score as contributions do.
    """
    places = themes(columns)
    parts = [contributions[:, places[name]].sum(axis=1) for name in places]
    return list(places), np.stack(parts, axis=1)


def largest(columns: Sequence[FeatureColumn], contributions: Floats) -> list[str]:
    """For each row the theme that raises its score most."""
    names, moved = sums(columns, contributions)
    best = np.array([*names, NONE])[moved.argmax(axis=1)]
    found: list[str] = np.where(moved.max(axis=1) > 0, best, NONE).tolist()
    return found


def table(columns: Sequence[FeatureColumn], explained: Explanation) -> pd.DataFrame:
    """Theme, its columns, the mean absolute sum, and its share of all themes'."""
    names, moved = sums(columns, explained.contributions)
    size = np.abs(moved).mean(axis=0)
    counts = [len(places) for places in themes(columns).values()]
    found = pd.DataFrame({
        "theme": names, "columns": counts, "mean_abs_sum": size,
        "share": size / max(float(size.sum()), np.finfo(float).tiny),
    })  # fmt: skip
    return found.sort_values("mean_abs_sum", ascending=False, ignore_index=True)


def groups(
    columns: Sequence[FeatureColumn], explained: Explanation, answers: Floats, threshold: float
) -> pd.DataFrame:
    """Customers at or above ``threshold`` by the theme that raises their score most.

    Sized, with their mean answer and, where the features have it, what they spent in a year.
    """
    named = answers >= threshold
    main = np.array(largest(columns, explained.contributions))
    rows = pd.DataFrame({"theme": main[named], "answer": answers[named]})
    if WORTH in explained.columns:
        spent = np.take(explained.values, explained.columns.index(WORTH), axis=1)
        rows["spend_365d"] = np.nan_to_num(spent[named])
    grouped = rows.groupby("theme")
    found = grouped.agg(customers=("answer", "size"), mean_answer=("answer", "mean"))
    found.insert(1, "share", found["customers"] / max(len(rows), 1))
    if WORTH in explained.columns:
        found["mean_spend_365d"] = grouped["spend_365d"].mean()
        found["total_spend_365d"] = grouped["spend_365d"].sum()
    return found.reset_index().sort_values("customers", ascending=False, ignore_index=True)
