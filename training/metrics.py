"""Metrics of probabilities, weighted so that a bootstrap over customers is a change of weights.

Every function takes labels, probabilities and weights of shape (n_rows,). The test suite holds them
against scikit-learn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.contract import Floats

LEAST = 1e-15
ECE_BINS = 10


@dataclass(frozen=True)
class Ranked:
    """Labels and probabilities of one set of answers, sorted once so that reweighing is cheap.

    Ties share one place: ``last`` marks the last row of each run of equal probabilities.
    """

    y: Floats
    p: Floats
    order: NDArray[np.intp]
    last: NDArray[np.intp]
    bins: NDArray[np.intp]
    threshold: float

    @classmethod
    def of(cls, y: Floats, p: Floats, threshold: float) -> "Ranked":
        """Sort by falling probability; bins for the calibration error are equally filled."""
        order = np.argsort(-p, kind="stable")
        y, p = y[order], p[order]
        last = np.flatnonzero(np.append(p[1:] != p[:-1], True))
        edges = np.unique(np.quantile(p, np.linspace(0, 1, ECE_BINS + 1)[1:-1]))
        return cls(y, p, order, last, np.searchsorted(edges, p, side="right"), threshold)


Metric = Callable[[Ranked, Floats], float]


def roc_auc(r: Ranked, w: Floats) -> float:
    """Chance that a positive ranks above a negative, ties counted half (Hanley and McNeil 1982)."""
    true, false = _cumulated(r, w)
    if true[-1] == 0 or false[-1] == 0:
        return float("nan")
    return float(np.trapezoid(np.append(0, true), np.append(0, false)) / (true[-1] * false[-1]))


def average_precision(r: Ranked, w: Floats) -> float:
    """Area under precision and recall as a step function (PR-AUC), as in scikit-learn."""
    true, false = _cumulated(r, w)
    if true[-1] == 0:
        return float("nan")
    found = true + false
    precision = np.divide(true, found, out=np.zeros_like(true), where=found > 0)
    return float(np.sum(np.diff(true, prepend=0.0) * precision) / true[-1])


def log_loss(r: Ranked, w: Floats) -> float:
    """Mean negative log-likelihood, probabilities kept within [1e-15, 1 - 1e-15]."""
    p = np.clip(r.p, LEAST, 1 - LEAST)
    return float(np.average(-(r.y * np.log(p) + (1 - r.y) * np.log1p(-p)), weights=w))


def brier(r: Ranked, w: Floats) -> float:
    """Mean squared distance of probability and label (Brier 1950)."""
    return float(np.average((r.p - r.y) ** 2, weights=w))


def ece(r: Ranked, w: Floats) -> float:
    """Expected calibration error: mean gap of probability and rate over ten equally filled bins."""
    gaps = np.bincount(r.bins, weights=w * (r.p - r.y))
    return float(np.abs(gaps).sum() / w.sum())


def mean_probability(r: Ranked, w: Floats) -> float:
    """Mean probability, to be held against the rate."""
    return float(np.average(r.p, weights=w))


def lift_at_10(r: Ranked, w: Floats) -> float:
    """Rate among the tenth with the highest probability over the rate of all."""
    cumulated = np.cumsum(w)
    inside = np.clip(0.1 * cumulated[-1] - (cumulated - w), 0, w)
    rate = np.average(r.y, weights=w)
    return float(np.average(r.y, weights=inside) / rate) if rate > 0 else float("nan")


def accuracy(r: Ranked, w: Floats) -> float:
    """Share of rows on the right side of the threshold."""
    return float(np.average((r.p >= r.threshold) == r.y, weights=w))


def precision(r: Ranked, w: Floats) -> float:
    """Share of positives among the rows at or above the threshold."""
    named = w * (r.p >= r.threshold)
    return float((named * r.y).sum() / named.sum()) if named.sum() > 0 else float("nan")


def recall(r: Ranked, w: Floats) -> float:
    """Share of the positives that lie at or above the threshold."""
    positives = (w * r.y).sum()
    return (
        float((w * r.y * (r.p >= r.threshold)).sum() / positives) if positives > 0 else float("nan")
    )


def f1(r: Ranked, w: Floats) -> float:
    """Harmonic mean of precision and recall."""
    true = (w * r.y * (r.p >= r.threshold)).sum()
    named, positives = (w * (r.p >= r.threshold)).sum(), (w * r.y).sum()
    return float(2 * true / (named + positives)) if named + positives > 0 else float("nan")


METRICS: dict[str, Metric] = {
    f.__name__: f
    for f in (
        average_precision, roc_auc, log_loss, brier, ece, lift_at_10,
        accuracy, precision, recall, f1, mean_probability,
    )
}  # fmt: skip
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece"})


def customer_weights(customers: NDArray[np.int64], repeats: int, seed: int) -> NDArray[np.float64]:
    """Bootstrap weights of shape (repeats, n_rows): customers are drawn with all their rows."""
    _, index = np.unique(customers, return_inverse=True)
    n = int(index.max()) + 1
    rng = np.random.default_rng(seed)
    counts = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(repeats)])
    return counts[:, index].astype(np.float64)


def evaluate(ranked: Ranked, weights: Floats, names: Sequence[str]) -> dict[str, Floats]:
    """Metric name -> array (1 + repeats,): the value itself, then one for each bootstrap draw."""
    drawn = np.vstack([np.ones(len(ranked.y)), weights[:, ranked.order]])
    return {name: np.array([METRICS[name](ranked, w) for w in drawn]) for name in names}


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def best_threshold(y: Floats, p: Floats) -> float:
    """The probability that tells the classes apart best: largest recall less false positives.

    Youden (1950). Unlike the best F1 it does not drift to "everybody" where most are positive.
    """
    ranked = Ranked.of(y, p, 0.5)
    true, false = _cumulated(ranked, np.ones(len(y)))
    gain = true / max(true[-1], 1) - false / max(false[-1], 1)
    return float(ranked.p[ranked.last[int(np.argmax(gain))]])


def _cumulated(r: Ranked, w: Floats) -> tuple[Floats, Floats]:
    """True and false positives down to each distinct probability."""
    return np.cumsum(w * r.y)[r.last], np.cumsum(w * (1 - r.y))[r.last]
