"""Plots of a segmentation. Each takes the tidy table behind it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from training.contract import Floats
from training.plots import COLOURS, MARKERS, axes_of
from training.segments.cells import Ints
from training.segments.choose import FITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COLUMNS = 24
POINTS = 1_500


def heat(profile: pd.DataFrame) -> "Figure":
    """Shift of each segment in the columns that part segments most."""
    wide = profile.pivot_table(index="column", columns="segment", values="shift", sort=False)
    spread = wide.max(axis=1) - wide.min(axis=1)
    wide = wide.loc[spread.sort_values(ascending=False, kind="stable").index[:MOST_COLUMNS]]
    figure, axes = axes_of("How segments differ from everybody", "segment", "", (7, 8))
    drawn = axes.imshow(wide, cmap="PuOr", vmin=-2, vmax=2, aspect="auto")
    axes.set_xticks(range(wide.shape[1]), list(wide.columns))
    axes.set_yticks(range(len(wide)), [n.replace("__", ": ") for n in wide.index], fontsize=8)
    axes.grid(False)
    for i, row in enumerate(wide.to_numpy()):
        for j, value in enumerate(row):
            text = "" if np.isnan(value) else f"{value:+.1f}"
            dark = "white" if abs(value) > 1.3 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=dark)
    figure.colorbar(drawn, ax=axes, label="standard deviations from the mean")
    return figure


def sizes(table: pd.DataFrame, date: str) -> "Figure":
    """Share of customers beside share of value; what is not shown has no bar."""
    size = (7.5, 0.5 * len(table) + 1.4)
    figure, axes = axes_of(f"Sizes and values at {date}", "share in percent", "", size)
    y, shares = np.arange(len(table)), 100 * table[["share", "value_share"]].astype(np.float64)
    axes.barh(y - 0.2, shares["share"], 0.4, color=COLOURS[0], label="of customers")
    axes.barh(y + 0.2, shares["value_share"], 0.4, color=COLOURS[1], hatch="//", label="of value")
    axes.set_yticks(y, list(table["segment"] + ": " + table["name"]))
    axes.invert_yaxis()
    axes.legend()
    return figure


def stability(refits: pd.DataFrame) -> "Figure":
    """Agreement of refits on resampled customers, by answer; tidy: answer, ari."""
    figure, axes = axes_of("Agreement of refits", "", "adjusted Rand index")
    names = list(dict.fromkeys(refits["answer"]))
    axes.boxplot([refits.loc[refits["answer"] == n, "ari"] for n in names], widths=0.5)
    axes.set_xticks(range(1, len(names) + 1), names, rotation=15)
    axes.axhline(0.9, color="0.6", linewidth=1)
    return figure


def choice(trials: pd.DataFrame) -> "Figure":
    """What each trial tells of the next period against its number of segments."""
    figure, axes = axes_of("Choice of the segmentation", "segments", "share told, less penalty")
    done = trials[trials["state"] != "failed"]
    for i, (way, part) in enumerate(done.groupby("way", sort=False)):
        fits = part["reason"] == FITS
        style: dict[str, Any] = {"marker": MARKERS[(i + i // 5) % 5], "s": 45}
        colour = COLOURS[i % 5]
        axes.scatter(part["segments"][fits], part["score"][fits], color=colour, label=way, **style)
        axes.scatter(
            part["segments"][~fits], part["score"][~fits], facecolors="none",
            edgecolors=colour, **style,
        )  # fmt: skip
    best = done[done["state"] == "chosen"]
    axes.scatter(best["segments"], best["score"], s=220, facecolors="none", edgecolors="black",
                 label="chosen")  # fmt: skip
    axes.plot([], [], "o", mfc="none", color="0.4", label="empty: a demand is missed")
    axes.legend(fontsize=7)
    return figure


def migration(moved: pd.DataFrame, names: Sequence[str], title: str) -> "Figure":
    """Streams of customers between two cutoffs, thickness by number."""
    figure, axes = axes_of(title, "", "", (7.5, 6))
    axes.axis("off")
    left, right = [n for n in (*names, "new") if n in set(moved["from"])], list(names)
    total = max(float(moved["customers"].sum()), 1.0)
    gap = 0.02
    starts = _stacked(moved.groupby("from")["customers"].sum().reindex(left) / total, gap)
    ends = _stacked(moved.groupby("to")["customers"].sum().reindex(right) / total, gap)
    _bars(axes, starts, 0.0, "right")
    _bars(axes, ends, 1.0, "left")
    used = {n: low for n, (low, _) in starts.items()}
    reached = {n: low for n, (low, _) in ends.items()}
    t = np.linspace(0, 1, 40)
    bend = 3 * t**2 - 2 * t**3
    for a in left:
        for b in right:
            row = moved[(moved["from"] == a) & (moved["to"] == b)]
            width = float(row["customers"].sum()) / total
            if width == 0:
                continue
            low = used[a] + (reached[b] - used[a]) * bend
            colour = COLOURS[left.index(a) % 5] if a != b else "0.75"
            axes.fill_between(0.03 + 0.94 * t, low, low + width, color=colour, alpha=0.5, lw=0)
            used[a] += width
            reached[b] += width
    return figure


def _stacked(shares: pd.Series, gap: float) -> dict[str, tuple[float, float]]:
    at, found = 0.0, {}
    for name, share in shares.fillna(0.0).items():
        found[str(name)] = (at, at + float(share))
        at += float(share) + gap
    return found


def _bars(axes: Any, spans: dict[str, tuple[float, float]], x: float, side: str) -> None:
    for name, (low, high) in spans.items():
        axes.fill_betweenx([low, high], x, x + 0.03 if x == 0 else x - 0.03, color="0.3")
        at = x - 0.02 if side == "right" else x + 0.02
        axes.text(at, (low + high) / 2, name, ha=side, va="center", fontsize=9)


def axes_table(Z: Floats, labels: Ints, names: Sequence[str], seed: int) -> pd.DataFrame:
    """Customers on the two axes that part segments most (Fisher's linear discriminants).

    Returns
    -------
    DataFrame
        first, second, segment; a sample of customers.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    most = min(2, Z.shape[1], len(np.unique(labels)) - 1)
    at = np.zeros((len(Z), 2))
    if most:
        model = LinearDiscriminantAnalysis(n_components=most, solver="eigen", shrinkage=1e-6)
        at[:, :most] = model.fit(Z, labels).transform(Z)
    picked = np.sort(np.random.default_rng(seed).permutation(len(Z))[:POINTS])
    return pd.DataFrame({
        "first": at[picked, 0], "second": at[picked, 1],
        "segment": [names[s] for s in labels[picked]],
    })  # fmt: skip


def scatter(table: pd.DataFrame) -> "Figure":
    """The discriminant axes: an illustration, for distances are not kept."""
    figure, axes = axes_of("Two discriminant axes (an illustration)", "first axis", "second axis")
    for i, (name, part) in enumerate(table.groupby("segment", sort=True)):
        axes.scatter(
            part["first"], part["second"], s=9, alpha=0.6, color=COLOURS[i % 5],
            marker=MARKERS[(i + i // 5) % 5], label=name,
        )  # fmt: skip
        axes.annotate(
            str(name), (part["first"].median(), part["second"].median()), fontweight="bold",
            bbox={"boxstyle": "circle", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
        )  # fmt: skip
    axes.legend(markerscale=2, fontsize=8)
    return figure
