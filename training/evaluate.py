"""Judging answers on the same rows: values with intervals, paired differences, slices, gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import model_validator

from features.errors import ConfigError
from features.settings import Strict
from training.contract import Floats, Kind
from training.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    OF_KIND,
    UNDIRECTED,
    Ranked,
    customer_weights,
    evaluate,
    interval,
)
from training.splits import Rows

CANDIDATE, CHAMPION = "candidate", "champion"
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


class Gate(Strict):
    """What a version must reach on one metric before it may be approved."""

    min: float | None = None
    """The value must not be below."""
    max: float | None = None
    """The value must not be above."""
    beats_baseline: bool = False
    """The paired 95 % interval of the difference to the declared baseline must exclude zero."""
    champion_margin: float | None = None
    """The paired interval must not show the candidate worse than the champion by more than this."""

    @model_validator(mode="after")
    def _something(self) -> "Gate":
        if self == type(self).model_construct(
            min=None, max=None, beats_baseline=False, champion_margin=None
        ):
            raise ValueError(
                "a gate demands something: min, max, beats_baseline or champion_margin"
            )
        return self


@dataclass(frozen=True)
class Judged:
    """Every answer on the same rows with the same bootstrap draws."""

    rows: Rows
    answers: Mapping[str, Floats]
    ranked: Mapping[str, Ranked]
    draws: Mapping[str, Mapping[str, Floats]]
    """Answer -> metric -> array (1 + repeats,)."""
    kind: Kind = "event"

    def table(self) -> pd.DataFrame:
        """Tidy: answer, metric, value, ci_low, ci_high, n, rate (or mean)."""
        lines = []
        for name, metrics in self.draws.items():
            for metric, values in metrics.items():
                low, high = interval(values[1:])
                lines.append({
                    "answer": name, "metric": metric,
                    "value": values[0], "ci_low": low, "ci_high": high,
                    "n": len(self.rows), CENTRE[self.kind]: float(self.rows.y.mean()),
                })  # fmt: skip
        return pd.DataFrame(lines)

    def difference(self, metric: str, better: str, other: str) -> tuple[float, float, float]:
        """By how much ``better`` beats ``other``: value and paired interval, above 0 = it does."""
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        values = sign * (self.draws[better][metric] - self.draws[other][metric])
        return (float(values[0]), *interval(values[1:]))

    def differences(self) -> pd.DataFrame:
        """Tidy: candidate against every other answer on every metric with a direction."""
        lines = []
        for other in self.draws:
            if other == CANDIDATE:
                continue
            for metric in OF_KIND[self.kind]:
                if metric in UNDIRECTED:
                    continue
                value, low, high = self.difference(metric, CANDIDATE, other)
                lines.append(
                    {
                        "against": other,
                        "metric": metric,
                        "better_by": value,
                        "ci_low": low,
                        "ci_high": high,
                    }
                )
        return pd.DataFrame(lines)


def judge(
    rows: Rows,
    answers: Mapping[str, Floats],
    thresholds: Mapping[str, float | None],
    repeats: int,
    seed: int,
    kind: Kind = "event",
) -> Judged:
    """Evaluate all answers on ``rows`` with one set of bootstrap draws over customers."""
    weights = customer_weights(rows.customers, repeats, seed)
    ranked = {name: Ranked.of(rows.y, p, thresholds[name] or 0.0) for name, p in answers.items()}
    draws = {name: evaluate(r, weights, OF_KIND[kind]) for name, r in ranked.items()}
    return Judged(rows, answers, ranked, draws, kind)


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


def check_gates(gates: Mapping[str, Gate], kind: Kind = "event") -> None:
    """Refuse gates on metrics that do not exist, or not for this kind of question.

    Raises
    ------
    ConfigError
        Naming every unknown metric.
    """
    unknown = [name for name in gates if name not in OF_KIND[kind]]
    if unknown:
        raise ConfigError(f"gates: unknown metric(s) {unknown}; known: {sorted(OF_KIND[kind])}")
    aimless = [
        n for n, g in gates.items() if n in UNDIRECTED and (g.beats_baseline or g.champion_margin)
    ]
    if aimless:
        raise ConfigError(f"gates: {aimless} have no better or worse; give min and max alone")


def gate_results(
    gates: Mapping[str, Gate],
    judged: Judged,
    baseline: str,
    champion_note: str,
    checks: Mapping[str, tuple[float, float]],
) -> list[dict[str, Any]]:
    """Every demand with what was found; pure, and complete: nothing that is asked for is left out.

    Parameters
    ----------
    champion_note
        Why there is no champion to compare with; empty where there is one.
    checks
        Further checks: name -> (found, at most).
    """
    results = []

    def add(gate: str, found: str, passed: bool, demand: str) -> None:
        results.append({"gate": gate, "demand": demand, "found": found, "passed": passed})

    for metric, gate in gates.items():
        value = float(judged.draws[CANDIDATE][metric][0])
        if gate.min is not None:
            add(f"{metric} floor", f"{value:.4f}", value >= gate.min, f"at least {gate.min:g}")
        if gate.max is not None:
            add(f"{metric} ceiling", f"{value:.4f}", value <= gate.max, f"at most {gate.max:g}")
        if gate.beats_baseline:
            by, low, high = judged.difference(metric, CANDIDATE, baseline)
            add(
                f"{metric} beats {baseline}",
                _range(by, low, high),
                low > 0,
                "paired 95 % interval above 0",
            )
        if gate.champion_margin is not None:
            demand = f"not worse by more than {gate.champion_margin:g}"
            if champion_note:
                add(f"{metric} against champion", champion_note, True, demand)
            else:
                by, low, high = judged.difference(metric, CANDIDATE, CHAMPION)
                add(
                    f"{metric} against champion",
                    _range(by, low, high),
                    low >= -gate.champion_margin,
                    demand,
                )
    for name, (found, limit) in checks.items():
        add(name, f"{found:.3g}", bool(found <= limit), f"at most {limit:g}")
    return results


def _range(by: float, low: float, high: float) -> str:
    return f"better by {by:+.4f} [{low:+.4f}, {high:+.4f}]"


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
