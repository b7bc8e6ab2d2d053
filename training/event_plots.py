"""Plots of probabilities: ranking, calibration and errors at the threshold."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.metrics import Ranked
from training.plots import COLOURS, LINES, MARKERS, Drawn, axes_of, lines_of, whiskers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def of_events(ranked: Mapping[str, Ranked]) -> Drawn:
    """All plots of probabilities by name, each with the table behind it; the first answer leads."""
    candidate = next(iter(ranked.values()))
    table, reliable, counts = curves(ranked), reliability_table(ranked), confusion_table(candidate)
    return {
        "reliability": (reliable, reliability(reliable)),
        "gain": (table, gain(table)),
        "lift": (table, lift(table)),
        "precision_recall": (table, precision_recall(table, float(candidate.y.mean()))),
        "roc": (table, roc(table)),
        "confusion": (counts, confusion(counts, candidate.threshold)),
    }


def curves(ranked: Mapping[str, Ranked]) -> pd.DataFrame:
    """Per answer and share of customers named: recall, precision, false-positive share, lift."""
    parts = []
    for name, r in ranked.items():
        true, false = np.cumsum(r.y), np.cumsum(1 - r.y)
        keep = np.unique(np.linspace(0, len(r.y) - 1, 201).astype(int))
        parts.append(
            pd.DataFrame(
                {
                    "answer": name,
                    "share": (keep + 1) / len(r.y),
                    "recall": true[keep] / true[-1],
                    "precision": true[keep] / (keep + 1),
                    "false_positives": false[keep] / false[-1],
                    "lift": true[keep] / (keep + 1) / r.y.mean(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def gain(table: pd.DataFrame) -> "Figure":
    """Share of positives found against share of customers named."""
    figure, axes = axes_of(
        "Cumulative gain",
        "share of customers, highest probability first",
        "share of positives found",
    )
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    lines_of(axes, table, "share", "recall")
    return figure


def lift(table: pd.DataFrame) -> "Figure":
    """Lift against share of customers named."""
    figure, axes = axes_of(
        "Lift", "share of customers, highest probability first", "rate among them / rate of all"
    )
    axes.axhline(1, color="0.6", linewidth=1)
    lines_of(axes, table[table["share"] >= 0.02], "share", "lift")
    return figure


def precision_recall(table: pd.DataFrame, rate: float) -> "Figure":
    """Precision against recall with the base rate."""
    figure, axes = axes_of("Precision and recall", "recall", "precision")
    axes.axhline(rate, color="0.6", linewidth=1)
    axes.annotate(f"base rate {rate:.3f}", (0.01, rate), va="bottom", fontsize=8)
    lines_of(axes, table, "recall", "precision")
    axes.set_ylim(0, 1.02)
    return figure


def roc(table: pd.DataFrame) -> "Figure":
    """True against false positives."""
    figure, axes = axes_of("ROC", "share of negatives named", "share of positives named")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    lines_of(axes, table, "false_positives", "recall")
    return figure


def reliability_table(ranked: Mapping[str, Ranked], bins: int = 10) -> pd.DataFrame:
    """Equally filled bins: mean probability, rate, 95 % Wilson interval of the rate, rows."""
    parts = []
    z = 1.959964
    for name, r in ranked.items():
        for rows in np.array_split(np.arange(len(r.y)), bins):
            if not len(rows):
                continue
            n, rate = len(rows), float(r.y[rows].mean())
            centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
            half = z / (1 + z * z / n) * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
            parts.append({
                "answer": name, "probability": float(r.p[rows].mean()), "rate": rate,
                "ci_low": centre - half, "ci_high": centre + half, "n": n,
            })  # fmt: skip
    return pd.DataFrame(parts)


def reliability(table: pd.DataFrame) -> "Figure":
    """Rate against probability, with intervals."""
    figure, axes = axes_of("Reliability", "mean probability in the bin", "rate in the bin")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for i, (name, part) in enumerate(table.groupby("answer", sort=False)):
        spread = whiskers(part["rate"], part["ci_low"], part["ci_high"])
        axes.errorbar(
            part["probability"], part["rate"], yerr=spread, label=name, color=COLOURS[i % 5],
            linestyle=LINES[i % 5], marker=MARKERS[i % 5], markersize=4, capsize=2,
        )  # fmt: skip
    axes.legend()
    return figure


def confusion_table(r: Ranked) -> pd.DataFrame:
    """Counts by truth and answer at the threshold."""
    named = r.named
    return pd.DataFrame(
        [
            {"truth": int(t), "named": int(a), "n": int(((r.y == t) & (named == a)).sum())}
            for t in (0, 1)
            for a in (0, 1)
        ]
    )


def confusion(table: pd.DataFrame, threshold: float) -> "Figure":
    """The confusion matrix at the threshold."""
    counts = table.pivot_table(index="truth", columns="named", values="n").to_numpy()
    figure, axes = axes_of(
        f"Confusion matrix at probability {threshold:.3f}", "answer", "truth", (4.6, 4.2)
    )
    axes.grid(visible=False)
    axes.imshow(counts, cmap="Greys", vmin=0, vmax=counts.max() * 1.8)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    for (i, j), n in np.ndenumerate(counts):
        axes.text(j, i, f"{int(n):,}\n{n / counts.sum():.1%}", ha="center", va="center")
    return figure
