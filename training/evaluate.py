"""Judging supervised answers on the same rows: values with intervals, slices, alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.contract import Floats, Kind
from training.gates import CANDIDATE, Compared
from training.metrics import (
    METRICS,
    OF_KIND,
    Ranked,
    customer_weights,
    evaluate,
    interval,
)
from training.rows import Rows

LEAST_SLICE = 50
SLICE_METRICS: dict[Kind, tuple[str, ...]] = {
    "event": ("roc_auc", "log_loss", "mean_probability"),
    "amount": ("spearman", "mae", "mean_value"),
}
"""What slices are judged by; the first of them is drawn."""
CENTRE: dict[Kind, str] = {"event": "rate", "amount": "mean"}
"""What the mean label is called."""
ALARM: dict[Kind, str] = {
    "event": "features that separate the classes alone (AUC over 0.9)",
    "amount": "features that rank the amounts alone (correlation over 0.9)",
}


@dataclass(frozen=True, kw_only=True)
class Judged(Compared):
    """Every answer on the same rows with the same bootstrap draws."""

    rows: Rows
    answers: Mapping[str, Floats]
    ranked: Mapping[str, Ranked]
    kind: Kind = "event"

    def table(self) -> pd.DataFrame:
        """As of every comparison, with the number of rows and the rate (or mean)."""
        centre = {"n": len(self.rows), CENTRE[self.kind]: float(self.rows.y.mean())}
        return super().table().assign(**centre)


def judge(
    rows: Rows,
    answers: Mapping[str, Floats],
    thresholds: Mapping[str, float | Floats],
    repeats: int,
    seed: int,
    kind: Kind = "event",
) -> Judged:
    """Evaluate all answers on ``rows`` with one set of bootstrap draws over customers.

    Each answer has one threshold, or one for each row; amounts have none: NaN.
    """
    weights = customer_weights(rows.customers, repeats, seed)
    ranked = {name: Ranked.of(rows.y, p, thresholds[name]) for name, p in answers.items()}
    draws = {name: evaluate(r, weights, OF_KIND[kind]) for name, r in ranked.items()}
    return Judged(rows=rows, answers=answers, ranked=ranked, draws=draws, kind=kind)


def slices(
    judged: Judged, groups: Mapping[str, NDArray[np.bool_]], repeats: int, seed: int
) -> pd.DataFrame:
    """The candidate by slice: size, rate (or mean), mean answer and ranking, with intervals.

    Slices under 50 rows or with one label only are listed with the reason and not judged.
    """
    lines = []
    metrics, centre = SLICE_METRICS[judged.kind], CENTRE[judged.kind]
    p, threshold = judged.answers[CANDIDATE], judged.ranked[CANDIDATE].threshold
    for name, mask in {"everyone": np.ones(len(judged.rows), bool), **groups}.items():
        rows = judged.rows.where(mask)
        line: dict[str, Any] = {"slice": name, "n": len(rows), "note": "judged"}
        if len(rows) < LEAST_SLICE or len(np.unique(rows.y)) < 2:
            line["note"] = f"not judged: fewer than {LEAST_SLICE} rows, or one label only"
        else:
            weights = customer_weights(rows.customers, repeats, seed)
            found = evaluate(
                Ranked.of(rows.y, p[mask], threshold),
                weights,
                metrics,
            )
            line[centre] = float(rows.y.mean())
            for metric, values in found.items():
                line[metric] = values[0]
                line[f"{metric}.ci_low"], line[f"{metric}.ci_high"] = interval(values[1:])
        lines.append(line)
    judged_columns = [
        "slice", "n", "note", centre,
        *[f"{m}{end}" for m in metrics for end in ("", ".ci_low", ".ci_high")],
    ]  # fmt: skip
    return pd.DataFrame(lines, columns=judged_columns)


def worst_slice(by_slice: pd.DataFrame, kind: Kind) -> float:
    """The lowest ranking metric of any judged slice; NaN where none could be judged."""
    judged = by_slice[(by_slice["note"] == "judged") & (by_slice["slice"] != "everyone")]
    return float(judged[SLICE_METRICS[kind][0]].min())


def single_feature_alarm(
    rows: Rows, limit: float = 0.9, kind: Kind = "event"
) -> list[tuple[str, float]]:
    """Features that alone tell the answer beyond ``limit``: a leak until explained.

    By ROC-AUC, or by rank correlation for amounts; words count by the mean label that each has.
    """
    alarms = []
    ones = np.ones(len(rows))
    for name in rows.X.columns:
        column = rows.X[name]
        if column.dtype == "category":
            column = (
                pd.Series(rows.y, column.index).groupby(column, observed=True).transform("mean")
            )
        x = column.to_numpy(np.float64)
        x = np.where(np.isnan(x), np.nanmin(x) - 1 if np.isfinite(x).any() else 0.0, x)
        ranked = Ranked.of(rows.y, x, 0.0)
        auc = METRICS["roc_auc"](ranked, ones) if kind == "event" else 0.0
        told = max(auc, 1 - auc) if kind == "event" else abs(METRICS["spearman"](ranked, ones))
        if told > limit:
            alarms.append((name, told))
    return alarms


def names_of(parts: Sequence[str]) -> list[str]:
    """Short names of answers, such as ``recency`` for ``recency.Recency``."""
    return [part.partition(".")[0] for part in parts]
