"""Plots of contributions: what counts most, in which direction, by value and by theme."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from training.contract import Explanation, Floats
from training.plots import COLOURS, axes_of


def importance_table(explanation: Explanation, words: Collection[str] = ()) -> pd.DataFrame:
    """Mean absolute contribution per feature, and its correlation with the feature's rank.

    ``words`` names the category columns, whose codes have no direction.
    """
    lines = []
    for name, values, contributions in zip(
        explanation.columns,
        np.transpose(explanation.values),
        np.transpose(explanation.contributions),
        strict=True,
    ):
        lines.append({
            "feature": name, "mean_abs_contribution": float(np.abs(contributions).mean()),
            "direction": "by word" if name in words else _rank_correlation(values, contributions),
        })  # fmt: skip
    return pd.DataFrame(lines).sort_values(
        "mean_abs_contribution", ascending=False, ignore_index=True
    )


def _rank_correlation(x: Floats, y: Floats) -> float:
    known = ~np.isnan(x)
    if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return 0.0
    ranks = [pd.Series(v[known]).rank().to_numpy() for v in (x, y)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def beeswarm(explanation: Explanation, labels: Sequence[str]) -> Figure:
    """SHAP's own beeswarm of the contributions."""
    import shap

    drawn = explanation.to_shap()
    drawn.feature_names = list(labels)
    figure = Figure(figsize=(9, 6))
    axes = figure.subplots()
    shades = colormaps["cividis"]  # from dark to light, whoever sees no colours
    shap.plots.beeswarm(drawn, max_display=15, show=False, ax=axes, plot_size=None, color=shades)
    axes.set_xlabel(f"contribution to the score ({explanation.space})")
    return figure


def dependence_table(
    explanation: Explanation, importance: pd.DataFrame, words: Collection[str], top: int = 6
) -> pd.DataFrame:
    """Tidy: value and contribution of each row in the ``top`` most important numeric columns."""
    names = [name for name in importance["feature"] if name not in words][:top]
    at = [explanation.columns.index(name) for name in names]
    values, contributions = explanation.values, explanation.contributions  # noqa: PD011
    return pd.DataFrame({
        "feature": np.repeat(names, len(values)),
        "value": np.transpose(values)[at].ravel(),
        "contribution": np.transpose(contributions)[at].ravel(),
    })  # fmt: skip


def dependence(table: pd.DataFrame, space: str) -> Figure:
    """Contribution by value, one panel per column; wide values on a symmetric log scale."""
    names = list(dict.fromkeys(table["feature"]))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        part = table[table["feature"] == name].dropna()
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.plot(part["value"], part["contribution"], ".", markersize=3, color=COLOURS[0])
        if len(part) and part["value"].abs().max() > 20 * part["value"].abs().median() + 1:
            axes.set_xscale("symlog")
        axes.set_title(name.replace("__", ": ").replace("_", " "), fontsize=9)
        axes.grid(alpha=0.3)
    figure.supylabel(f"contribution to the score ({space})", fontsize=9)
    return figure


def themes(found: pd.DataFrame, space: str) -> Figure:
    """Mean absolute sum of each theme's contributions."""
    figure, axes = axes_of(
        "Reasons by theme", f"mean absolute sum of contributions ({space})", "",
        (7.0, 0.4 * len(found) + 1.2),
    )  # fmt: skip
    turned = found[::-1]
    axes.barh(turned["theme"], turned["mean_abs_sum"], color=COLOURS[0])
    return figure
