"""Plots of recommendations. Each takes the tidy table behind it."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.gates import CANDIDATE
from training.plots import COLOURS, LINES, MARKERS, axes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTS = ("all", "repeat", "discovery", "cold")
SIZES = (5, 10, 20)


def of_lists(metrics: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, "Figure"]]:
    """Every plot of the tidy metrics (answer, metric, value, ci_low, ci_high) by name."""
    bars = metrics[metrics["metric"].isin([f"{name}_ndcg_at_10" for name in LISTS])]
    recall = metrics[metrics["metric"].isin([f"all_recall_at_{k}" for k in SIZES])]
    points = metrics[
        metrics["metric"].isin(["coverage_at_10", "popularity_at_10", "all_ndcg_at_10"])
    ]
    return {
        "ndcg": (bars, _bars(bars)),
        "recall_by_k": (recall, _by_k(recall)),
        "coverage": (points, _coverage(points)),
    }


def _bars(table: pd.DataFrame) -> "Figure":
    """NDCG@10 of each answer, by list, with intervals."""
    figure, axes = axes_of("Order of lists, with 95 % intervals", "", "NDCG@10", (9, 4.8))
    answers = list(dict.fromkeys(table["answer"]))
    width = 0.8 / len(answers)
    for i, answer in enumerate(answers):
        own = table[table["answer"] == answer].set_index("metric")
        own = own.reindex([f"{name}_ndcg_at_10" for name in LISTS])
        x = np.arange(len(LISTS)) - 0.4 + width * (i + 0.5)
        error = np.abs(own[["ci_low", "ci_high"]].to_numpy().T - own["value"].to_numpy())
        axes.bar(
            x, own["value"], width, yerr=error, label=answer, color=COLOURS[i % 5],
            hatch="" if answer == CANDIDATE else ("//", "..", "xx", "")[i % 4], edgecolor="white",
        )  # fmt: skip
    axes.set_xticks(range(len(LISTS)), list(LISTS))
    axes.legend(fontsize=7, ncol=3)
    return figure


def _by_k(table: pd.DataFrame) -> "Figure":
    """Recall of the list of everything against its length."""
    figure, axes = axes_of("Recall by length of the list", "items listed", "recall")
    for i, (answer, own) in enumerate(table.groupby("answer", sort=False)):
        k = own["metric"].str.partition("_at_")[2].astype(int)
        axes.plot(
            k, own["value"], color=COLOURS[i % 5], linestyle=LINES[(i + i // 5) % 5],
            marker=MARKERS[(i + i // 5) % 5],
            label=answer, linewidth=2.5 if answer == CANDIDATE else 1.2,
        )  # fmt: skip
    axes.set_xticks(SIZES)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _coverage(table: pd.DataFrame) -> "Figure":
    """How much of the catalogue is listed, and how good the lists are."""
    figure, axes = axes_of("Coverage and order", "share of offered items listed", "NDCG@10")
    wide = table.pivot_table(index="answer", columns="metric", values="value", sort=False)
    for i, (answer, row) in enumerate(wide.iterrows()):
        axes.scatter(
            row["coverage_at_10"],
            row["all_ndcg_at_10"],
            color=COLOURS[i % 5],
            marker=MARKERS[(i + i // 5) % 5],
            s=60,
            label=answer,
            alpha=0.8,
        )
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def categories(table: pd.DataFrame) -> "Figure":
    """Shares of categories bought before, listed, and bought after."""
    figure, axes = axes_of("Calibration of categories", "", "share", (8, 4.5))
    x = np.arange(len(table))
    for i, (name, hatch) in enumerate((("bought", ""), ("listed", "//"), ("bought_after", ".."))):
        axes.bar(
            x + 0.27 * (i - 1), table[name], 0.27, label=name.replace("_", " "),
            color=COLOURS[i], hatch=hatch, edgecolor="white",
        )  # fmt: skip
    axes.set_xticks(x, list(table["category"]), rotation=45, ha="right", fontsize=7)
    axes.legend()
    return figure


def importance(table: pd.DataFrame) -> "Figure":
    """Mean size of each family's contribution."""
    figure, axes = axes_of("What moves the order", "mean size of the contribution", "")
    totals = table.groupby("family")["size"].mean().sort_values()
    axes.barh([name.replace("_", " ") for name in totals.index], totals, color=COLOURS[0])
    return figure
