"""Plots of a lifecycle. Each takes the tidy table behind it."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.plots import COLOURS, LINES, MARKERS, axes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heat(table: pd.DataFrame, rows: str, columns: str, value: str, title: str) -> "Figure":
    """A matrix of shares; cells that are not told stay empty."""
    wide = table.pivot_table(index=rows, columns=columns, values=value, sort=False, dropna=False)
    wide = wide.reindex(index=dict.fromkeys(table[rows]), columns=dict.fromkeys(table[columns]))
    figure, axes = axes_of(title, columns, rows, (2.5 + 0.8 * wide.shape[1],
                                                  1.8 + 0.45 * len(wide)))  # fmt: skip
    axes.imshow(wide.astype(float), cmap="Greys", vmin=0, vmax=1.4, aspect="auto")
    axes.set_xticks(range(wide.shape[1]), [str(n) for n in wide.columns], rotation=30, ha="right")
    axes.set_yticks(range(len(wide)), [str(n) for n in wide.index])
    axes.grid(False)
    for i, row in enumerate(wide.to_numpy(dtype=float)):
        for j, share in enumerate(row):
            text = "" if np.isnan(share) else f"{share:.2f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=8)
    return figure


def funnel(table: pd.DataFrame) -> "Figure":
    """Who gets how far."""
    shown = table[table["of_all"].notna()].iloc[::-1]
    figure, axes = axes_of("How far new customers get", "share of them", "", (6.4, 3.6))
    axes.barh(range(len(shown)), shown["of_all"], color=COLOURS[0])
    axes.set_yticks(range(len(shown)), list(shown["stage"]))
    for i, share in enumerate(shown["of_all"]):
        axes.text(share, i, f" {share:.0%}", va="center")
    return figure


def choice(trials: pd.DataFrame) -> "Figure":
    """What each number of states, with stays of so many steps, tells of later periods."""
    figure, axes = axes_of("Number of states", "states", "log-likelihood of later periods")
    for i, (steps, part) in enumerate(trials.groupby("steps")):
        axes.errorbar(part["states"], part["loglik"], yerr=part["standard_error"], marker="o",
                      color=COLOURS[i % 5], capsize=3, label=f"{steps} step(s) a stay")  # fmt: skip
    best = trials[trials["state"] == "chosen"]
    axes.scatter(best["states"], best["loglik"], s=220, facecolors="none", edgecolors="black",
                 label="chosen")  # fmt: skip
    axes.set_xticks(list(dict.fromkeys(trials["states"])))
    axes.legend()
    return figure


def dwell(table: pd.DataFrame) -> "Figure":
    """How long stays in each state last; tidy: state, periods, probability."""
    figure, axes = axes_of("How long stays last", "periods", "share of stays")
    for i, (state, part) in enumerate(table.groupby("state", sort=False)):
        axes.plot(part["periods"], part["probability"], markersize=4, linestyle=LINES[i // 5 % 5],
                  marker=MARKERS[(i + i // 5) % 5], color=COLOURS[i % 5], label=state)  # fmt: skip
    axes.legend(fontsize=8)
    return figure
