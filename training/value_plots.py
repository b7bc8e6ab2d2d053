"""Plots of expected amounts: by tenth of the answers, and how early the whole is found."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.metrics import Ranked
from training.plots import COLOURS, LINES, MARKERS, Drawn, axes_of, lines_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.supervised.value_report import ValueReport

TENTHS, BEST = 10, "best possible"


def of_amounts(ranked: Mapping[str, Ranked], unit: str) -> Drawn:
    """All plots of amounts by name, each with the table behind it; the first answer leads."""
    table, gained = decile_table(ranked), gain_table(ranked)
    first = table[table["answer"] == next(iter(ranked))]
    return {
        "deciles": (table, deciles(first, unit)),
        "calibration": (table, calibration(table, unit)),
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


def deciles(table: pd.DataFrame, unit: str) -> "Figure":
    """Predicted beside actual means of one answer."""
    figure, axes = axes_of(
        "Predicted and actual by tenth", "tenth of customers, highest answers first",
        f"mean of a customer ({unit})",
    )  # fmt: skip
    axes.bar(table["tenth"] - 0.2, table["predicted"], 0.4, label="predicted", color=COLOURS[0])
    axes.bar(
        table["tenth"] + 0.2, table["actual"], 0.4, label="actual", color=COLOURS[1], hatch="//"
    )
    axes.set_xticks(range(1, TENTHS + 1))
    axes.legend()
    return figure


def calibration(table: pd.DataFrame, unit: str) -> "Figure":
    """Actual against predicted means of all answers; both axes by logarithm, with room for 0."""
    figure, axes = axes_of(
        "Calibration by tenth", f"mean predicted ({unit})", f"mean actual ({unit})"
    )
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
    ordered = {**{name: r.y for name, r in ranked.items()}, BEST: best}
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
    answers = table["answer"] != BEST
    lines_of(axes, table[answers], "share", "gained")
    best = table[~answers]
    axes.plot(best["share"], best["gained"], color="0.6", linestyle=(0, (1, 3)), label=BEST)
    axes.legend()
    return figure


RECENCY = (0, 30, 60, 90, 180, 365, 730, 10_000)
"""Bounds of recency in days; the lower one belongs to a cell."""
ORDERS = (1, 2, 3, 5, 10, 20, 100_000)
"""Bounds of the number of orders."""


def of_values(report: "ValueReport", currency: str) -> Drawn:
    """Plots of what is told beside an amount, each with the table behind it."""
    asked = report.details.config.coverage
    return {
        "coverage": (report.coverage, coverage(report.coverage, asked)),
        "cohorts": (report.cohorts, cohorts(report.cohorts, currency)),
        "tracking": (report.tracking, tracking(report.tracking)),
        "p_alive": (report.alive, alive(report.alive)),
    }


def coverage(table: pd.DataFrame, asked: float) -> "Figure":
    """Share of amounts within their interval, by tenth of the chance of any."""
    figure, axes = axes_of(
        "Amounts within their interval", "tenth of customers, lowest chance first", "share"
    )
    axes.axhline(asked, color="0.6", linewidth=1)
    axes.plot(table["tenth"], table["inside"], "o-", color=COLOURS[0], label="within the interval")
    axes.plot(table["tenth"], table["chance"], "s--", color=COLOURS[1], label="chance to buy")
    axes.plot(table["tenth"], table["bought"], "^:", color=COLOURS[2], label="bought")
    axes.set_xticks(range(1, TENTHS + 1))
    axes.set_ylim(0, 1.02)
    axes.legend()
    return figure


def cohorts(table: pd.DataFrame, currency: str) -> "Figure":
    """Predicted beside actual sums by quarter of the first order."""
    figure, axes = axes_of(
        "Predicted and actual by cohort", "quarter of the first order", f"sum ({currency})"
    )
    table = table[table["cohort"] != "all"]
    places = np.arange(len(table))
    axes.bar(places - 0.2, table["predicted"], 0.4, label="predicted", color=COLOURS[0])
    axes.bar(places + 0.2, table["actual"], 0.4, label="actual", color=COLOURS[1], hatch="//")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xticks(places, list(table["cohort"]), rotation=45)
    axes.legend()
    return figure


def tracking(table: pd.DataFrame) -> "Figure":
    """Orders so far, expected by the published model, which knows no season, and actual."""
    figure, axes = axes_of("Orders after the cutoff", "days after the cutoff", "orders so far")
    said = "expected, without the season"
    axes.plot(table["days"], table["expected"], "--", color=COLOURS[1], label=said)
    axes.plot(table["days"], table["actual"], "-", color=COLOURS[0], label="actual")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def alive(table: pd.DataFrame) -> "Figure":
    """Mean chance to be still a customer, by recency and number of orders."""
    rows, columns = (list(dict.fromkeys(table[name])) for name in ("recency", "orders"))
    columns = sorted(columns, key=lambda said: float(said.split("-")[0].split()[0]))
    wide = table.pivot_table(index="recency", columns="orders", values="p_alive", sort=False)
    wide = wide.reindex(index=rows, columns=columns)
    figure, axes = axes_of("Chance to be still a customer", "orders", "days since the last order")
    axes.grid(visible=False)
    axes.imshow(wide.to_numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    for (i, j), p in np.ndenumerate(wide.to_numpy()):
        if np.isfinite(p):
            axes.text(j, i, f"{p:.2f}", ha="center", va="center", color="w" if p < 0.6 else "k")
    return figure
