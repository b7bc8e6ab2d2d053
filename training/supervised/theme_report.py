"""Reasons by theme over many customers, and who has one in common."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.schema import FeatureColumn
from features.themes import themes
from training import explanation_plots
from training.contract import Explanation, Floats
from training.report import Section
from training.supervised.case import SupervisedCase
from training.supervised.themes import largest, sums

WORTH = "orders__spend_365d"
"""What a customer is valued by, where the features have it."""


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


def sections(case: SupervisedCase) -> list[Section]:
    """Themes; of answers with a threshold also the groups of those at or above it."""
    answer, explained = case.made.answer, case.explained
    by_theme = table(answer.columns, explained)
    text = (
        f"Contributions in {case.space} summed over the columns about the same thing; the sums add "
        "up to the score as contributions do."
    )
    drawn = explanation_plots.themes(by_theme, explained.space)
    found = [
        Section(
            "Reasons by theme", [text], by_theme.round(4),
            figures={"themes": (by_theme, drawn)}, files={"themes": by_theme},
        )
    ]  # fmt: skip
    if answer.threshold is None:
        return found
    answers = case.made.calibrator.apply(explained.scores)
    alike = groups(answer.columns, explained, answers, answer.threshold)
    if len(alike):
        text = (
            f"Of {len(answers):,} customers drawn, the {alike['customers'].sum():,} at or above "
            "the threshold, by the theme that raises their score most. An association, no cause."
        )
        found.append(
            Section("Groups with a common reason", [text], alike.round(3), files={"groups": alike})
        )
    return found
