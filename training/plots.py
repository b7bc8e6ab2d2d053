"""Plots of a run. Each takes the tidy table behind it; colours differ in black and white too."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd

from training.contract import Explanation, Floats
from training.metrics import Ranked

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, in an order whose lightness also differs, and line styles and markers.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#009E73", "#CC79A7")
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")


def save(folder: Path, name: str, table: pd.DataFrame, figure: "Figure") -> None:
    """Write ``<name>.png`` and the tidy ``<name>.csv`` behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    figure.savefig(
        folder / f"{name}.png", dpi=110, bbox_inches="tight", metadata={"Software": None}
    )
    plt.close(figure)


def axes_of(
    title: str, x: str, y: str, size: tuple[float, float] = (6.4, 4.8)
) -> "tuple[Figure, Axes]":
    """A figure with one pair of labelled axes."""
    figure, axes = plt.subplots(figsize=size)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


Drawn = dict[str, tuple[pd.DataFrame, "Figure"]]


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


def lines_of(axes: "Axes", table: pd.DataFrame, x: str, y: str) -> None:
    """Draw a line for each answer of ``table``."""
    for i, (name, part) in enumerate(table.groupby("answer", sort=False)):
        axes.plot(part[x], part[y], color=COLOURS[i % 5], linestyle=LINES[i % 5], label=name)
    axes.legend()


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
        spread = [part["rate"] - part["ci_low"], part["ci_high"] - part["rate"]]
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


def slices(table: pd.DataFrame, metric: str = "roc_auc", centre: str = "rate") -> "Figure":
    """One metric of each judged slice with its interval."""
    judged = table[table["note"] == "judged"].iloc[::-1]
    figure, axes = axes_of(
        f"{metric} by slice", f"{metric} (95 % interval)", "", (7, 0.4 * len(judged) + 1.5)
    )
    spread = [
        judged[metric] - judged[f"{metric}.ci_low"],
        judged[f"{metric}.ci_high"] - judged[metric],
    ]
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


def timeline(table: pd.DataFrame, centre: str = "rate") -> "Figure":
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


def search(table: pd.DataFrame, metric: str, lower_is_better: bool) -> "Figure":
    """Value of each trial and the best so far."""
    figure, axes = axes_of("Search", "trial", metric)
    complete = table[table["state"] == "complete"]
    value = complete["value"]
    best = value.cummin() if lower_is_better else value.cummax()
    axes.plot(complete["trial"], value, "o", color=COLOURS[0], label="trial")
    axes.plot(complete["trial"], best, "-", color=COLOURS[2], label="best so far")
    axes.legend()
    return figure


def search_slices(table: pd.DataFrame, metric: str) -> "Figure":
    """Value of each complete trial by each searched field, whose share in it stands above.

    Parameters
    ----------
    table
        Tidy: ``field``, ``at``, ``trial``, ``value`` and the field's share in ``importance``.
    """
    fields = list(dict.fromkeys(table["field"]))
    figure, panels = plt.subplots(
        1, len(fields), figsize=(max(3.2, 2.6 * len(fields)), 3.4), sharey=True, squeeze=False
    )
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


def beeswarm(explanation: Explanation, labels: Sequence[str]) -> "Figure":
    """SHAP's own beeswarm of the contributions."""
    import shap

    drawn = explanation.to_shap()
    drawn.feature_names = list(labels)
    shap.plots.beeswarm(drawn, max_display=15, show=False, plot_size=(9, 6))
    figure = plt.gcf()
    figure.axes[0].set_xlabel(f"contribution to the score ({explanation.space})")
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


def dependence(table: pd.DataFrame, space: str) -> "Figure":
    """Contribution by value, one panel per column; wide values on a symmetric log scale."""
    names = list(dict.fromkeys(table["feature"]))
    columns = min(3, len(names))
    figure, grid = plt.subplots(
        -(-len(names) // columns), columns, figsize=(4 * columns, 3 * -(-len(names) // columns)),
        squeeze=False, layout="constrained",
    )  # fmt: skip
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


def intervals(table: pd.DataFrame) -> "Figure":
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
    figure, grid = plt.subplots(
        rows, columns, figsize=(4 * columns + room, height * rows), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid.flat, metrics, strict=False):
        part = table[table["metric"] == metric].set_index("version")
        for i, name in enumerate(versions):
            if name not in part.index:
                continue
            line = part.loc[name]
            reach = [[line["value"] - line["ci_low"]], [line["ci_high"] - line["value"]]]
            axes.errorbar(
                line["value"], i, xerr=np.abs(reach), capsize=3,
                fmt=MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)],
            )  # fmt: skip
        axes.set(title=metric, yticks=range(len(versions)), yticklabels=versions)
        axes.set_ylim(len(versions) - 0.5, -0.5)
        axes.grid(alpha=0.3)
    return figure


def themes(found: pd.DataFrame, space: str) -> "Figure":
    """Mean absolute sum of each theme's contributions."""
    figure, axes = axes_of(
        "Reasons by theme", f"mean absolute sum of contributions ({space})", "",
        (7.0, 0.4 * len(found) + 1.2),
    )  # fmt: skip
    turned = found[::-1]
    axes.barh(turned["theme"], turned["mean_abs_sum"], color=COLOURS[0])
    return figure
