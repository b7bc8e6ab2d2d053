"""Plots of a run. Each takes the tidy table behind it; colours differ in black and white too."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure  # not by pyplot, which keeps each figure until it is closed
from matplotlib.ticker import MaxNLocator

from training.contract import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, in an order whose lightness also differs, and line styles and markers.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#009E73", "#CC79A7")
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")


def save(folder: Path, name: str, table: pd.DataFrame, figure: Figure) -> None:
    """Write ``<name>.png`` and the tidy ``<name>.csv`` behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    figure.savefig(
        folder / f"{name}.png", dpi=110, bbox_inches="tight", metadata={"Software": None}
    )


def axes_of(
    title: str, x: str, y: str, size: tuple[float, float] = (6.4, 4.8)
) -> tuple[Figure, "Axes"]:
    """A figure with one pair of labelled axes."""
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


Drawn = dict[str, tuple[pd.DataFrame, Figure]]


def lines_of(axes: "Axes", table: pd.DataFrame, x: str, y: str) -> None:
    """Draw a line for each answer of ``table``."""
    for i, (name, part) in enumerate(table.groupby("answer", sort=False)):
        axes.plot(part[x], part[y], color=COLOURS[i % 5], linestyle=LINES[i % 5], label=name)
    axes.legend()


def whiskers(value: Any, low: Any, high: Any) -> Floats:
    """Lengths down and up from each value to the ends of its interval, shape (2, n_values).

    Of few customers a value may lie outside the interval of its draws: no whisker on that side.
    """
    lengths: Floats = np.maximum(np.atleast_2d([value - low, high - value]), 0.0)
    return lengths.reshape(2, -1)


def slices(table: pd.DataFrame, metric: str = "roc_auc", centre: str = "rate") -> Figure:
    """One metric of each judged slice with its interval."""
    judged = table[table["note"] == "judged"].iloc[::-1]
    figure, axes = axes_of(
        f"{metric} by slice", f"{metric} (95 % interval)", "", (7, 0.4 * len(judged) + 1.5)
    )
    spread = whiskers(judged[metric], judged[f"{metric}.ci_low"], judged[f"{metric}.ci_high"])
    axes.errorbar(
        judged[metric], range(len(judged)), xerr=spread, fmt="o", color=COLOURS[0], capsize=3
    )
    labels = [
        f"{s} (n={n:,}, {centre} {r:.2f})"
        for s, n, r in zip(judged["slice"], judged["n"], judged[centre], strict=True)
    ]
    axes.set_yticks(range(len(judged)), labels)
    chance = 0.5 if metric == "roc_auc" else 0.0
    axes.axvline(chance, color="0.6", linewidth=1)
    return figure


def timeline(table: pd.DataFrame, centre: str = "rate") -> Figure:
    """Cutoffs with their label windows, by role."""
    figure, axes = axes_of("Cutoffs and label windows", "", "", (7.5, 0.28 * len(table) + 1.2))
    roles = list(dict.fromkeys(table["role"]))
    hatches = ("", "//", "..", "xx")
    for i, row in enumerate(table.itertuples()):
        start, end = pd.Timestamp(row.cutoff), pd.Timestamp(row.label_end)
        k = roles.index(row.role)
        label = row.role if i == list(table["role"]).index(row.role) else None
        axes.barh(
            i,
            (end - start).days,
            left=start,
            color=COLOURS[k % 5],
            alpha=0.6,
            hatch=hatches[k % 4],
            label=label,
        )
    axes.set_yticks(
        range(len(table)),
        [
            f"{c}  {centre} {r:.2f}" if r == r else f"{c}  dropped"
            for c, r in zip(table["cutoff"], table[centre], strict=True)
        ],
    )
    axes.legend(fontsize=8)
    figure.autofmt_xdate()
    return figure


def search(table: pd.DataFrame, metric: str, lower_is_better: bool) -> Figure:
    """Value of each trial and the best so far."""
    figure, axes = axes_of("Search", "trial", metric)
    complete = table[table["state"] == "complete"]
    value = complete["value"]
    best = value.cummin() if lower_is_better else value.cummax()
    axes.plot(complete["trial"], value, "o", color=COLOURS[0], label="trial")
    axes.plot(complete["trial"], best, "-", color=COLOURS[2], label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def search_slices(table: pd.DataFrame, metric: str) -> Figure:
    """Value of each complete trial by each searched field, whose share in it stands above.

    Parameters
    ----------
    table
        Tidy: ``field``, ``at``, ``trial``, ``value`` and the field's share in ``importance``.
    """
    fields = list(dict.fromkeys(table["field"]))
    figure = Figure(figsize=(max(3.2, 2.6 * len(fields)), 3.4))
    panels = figure.subplots(1, len(fields), sharey=True, squeeze=False)
    for axes, name in zip(panels[0], fields, strict=True):
        part = table[table["field"] == name]
        axes.plot(part["at"], part["value"], "o", color=COLOURS[0])
        share = part["importance"].iloc[0]
        axes.set(xlabel=name, title="too few trials" if np.isnan(share) else f"share {share:.2f}")
        if part["at"].min() > 0 and part["at"].max() > 20 * part["at"].min():
            axes.set_xscale("log")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel(metric)
    figure.tight_layout()
    return figure


def intervals(table: pd.DataFrame) -> Figure:
    """Each metric on a scale of its own: one row per version, the value with its interval.

    Parameters
    ----------
    table
        Tidy: version, metric, value, ci_low, ci_high.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    versions = list(dict.fromkeys(table["version"]))
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    height = 1.2 + 0.3 * len(versions)
    room = 0.09 * max(len(str(name)) for name in versions)  # inches that labels take
    figure = Figure(figsize=(4 * columns + room, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        part = table[table["metric"] == metric].set_index("version")
        for i, name in enumerate(versions):
            if name not in part.index:
                continue
            line = part.loc[name]
            axes.errorbar(
                line["value"], i, capsize=3,
                xerr=whiskers(line["value"], line["ci_low"], line["ci_high"]),
                fmt=MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)],
            )  # fmt: skip
        axes.set(title=metric, yticks=range(len(versions)), yticklabels=versions)
        axes.set_ylim(len(versions) - 0.5, -0.5)
        axes.grid(alpha=0.3)
    return figure
