"""Plots of expected amounts: by tenth of the answers, and how early the whole is found."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.metrics import Ranked
from training.plots import COLOURS, LINES, MARKERS, Drawn, axes_of, lines_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TENTHS = 10


def of_amounts(ranked: Mapping[str, Ranked]) -> Drawn:
    """All plots of amounts by name, each with the table behind it; the first answer leads."""
    table, gained = decile_table(ranked), gain_table(ranked)
    first = table[table["answer"] == next(iter(ranked))]
    return {
        "deciles": (table, deciles(first)),
        "calibration": (table, calibration(table)),
        "gain": (gained, gain(gained)),
    }


def decile_table(ranked: Mapping[str, Ranked]) -> pd.DataFrame:
    """Equally filled tenths by falling answer: customers, mean answer, mean amount, their ratio."""
    lines = []
    for name, r in ranked.items():
        for tenth, rows in enumerate(np.array_split(np.arange(len(r.y)), TENTHS), start=1):
            if not len(rows):
                continue
            predicted, actual = float(r.p[rows].mean()), float(r.y[rows].mean())
            lines.append({
                "answer": name, "tenth": tenth, "n": len(rows),
                "predicted": predicted, "actual": actual,
                "ratio": predicted / actual if actual > 0 else float("nan"),
            })  # fmt: skip
    return pd.DataFrame(lines)


def deciles(table: pd.DataFrame) -> "Figure":
    """Predicted beside actual means of one answer."""
    figure, axes = axes_of(
        "Predicted and actual by tenth", "tenth of customers, highest answers first", "mean amount"
    )
    axes.bar(table["tenth"] - 0.2, table["predicted"], 0.4, label="predicted", color=COLOURS[0])
    axes.bar(
        table["tenth"] + 0.2, table["actual"], 0.4, label="actual", color=COLOURS[1], hatch="//"
    )
    axes.set_xticks(range(1, TENTHS + 1))
    axes.legend()
    return figure


def calibration(table: pd.DataFrame) -> "Figure":
    """Actual against predicted means of all answers; both axes by logarithm, with room for 0."""
    figure, axes = axes_of("Calibration by tenth", "mean predicted amount", "mean actual amount")
    top = float(table[["predicted", "actual"]].to_numpy().max())
    axes.plot([0, top], [0, top], color="0.6", linewidth=1)
    for i, (name, part) in enumerate(table.groupby("answer", sort=False)):
        axes.plot(
            part["predicted"], part["actual"], label=name, color=COLOURS[i % 5],
            linestyle=LINES[i % 5], marker=MARKERS[i % 5], markersize=4,
        )  # fmt: skip
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("symlog", linthresh=max(top / 1000, 1e-9))
    axes.legend()
    return figure


def gain_table(ranked: Mapping[str, Ranked]) -> pd.DataFrame:
    """Share of the whole amount by share of customers, per answer and for the best order."""
    best = np.sort(next(iter(ranked.values())).y)[::-1]
    ordered = {**{name: r.y for name, r in ranked.items()}, "best possible": best}
    keep = np.unique(np.linspace(0, len(best) - 1, 201).astype(int))
    return pd.concat(
        [
            pd.DataFrame({
                "answer": name,
                "share": (keep + 1) / len(y),
                "gained": np.cumsum(y)[keep] / y.sum(),
            })
            for name, y in ordered.items()
        ],
        ignore_index=True,
    )  # fmt: skip


def gain(table: pd.DataFrame) -> "Figure":
    """Share of the whole amount against share of customers: the Lorenz curve from the top."""
    figure, axes = axes_of(
        "Cumulative gain", "share of customers, highest answers first", "share of the whole amount"
    )
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    lines_of(axes, table, "share", "gained")
    return figure
