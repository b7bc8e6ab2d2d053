"""Metrics of answers, weighted so that a bootstrap over customers is a change of weights.

Every function takes labels, answers (probabilities of events, expected values of amounts) and
weights of shape (n_rows,). The test suite holds them against scikit-learn and scipy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.contract import Floats, Kind

LEAST = 1e-15
ECE_BINS = 10


@dataclass(frozen=True)
class Ranked:
    """Labels and answers of one set, sorted once so that reweighing is cheap.

    Ties share one place: ``last`` marks the last row of each run of equal answers. ``named`` are
    the rows whose answer reaches the threshold, or each its own; ``threshold`` is their median.
    """

    y: Floats
    p: Floats
    order: NDArray[np.intp]
    last: NDArray[np.intp]
    bins: NDArray[np.intp]
    named: NDArray[np.bool_]
    threshold: float

    @classmethod
    def of(cls, y: Floats, p: Floats, threshold: float | Floats) -> "Ranked":
        """Sort by falling answer; bins for the calibration error are equally filled."""
        order, last = _falling(p)
        named = (p >= threshold)[order]
        y, p = y[order], p[order]
        edges = np.unique(np.quantile(p, np.linspace(0, 1, ECE_BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, p, side="right")
        return cls(y, p, order, last, bins, named, float(np.median(threshold)))

    @cached_property
    def by_label(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Places of the rows by falling label, and the last of each run of equal labels."""
        return _falling(self.y)


def _falling(values: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


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
    return float(np.average(r.named == r.y, weights=w))


def precision(r: Ranked, w: Floats) -> float:
    """Share of positives among the rows at or above the threshold."""
    named = w * r.named
    return float((named * r.y).sum() / named.sum()) if named.sum() > 0 else float("nan")


def recall(r: Ranked, w: Floats) -> float:
    """Share of the positives that lie at or above the threshold."""
    positives = (w * r.y).sum()
    return float((w * r.y * r.named).sum() / positives) if positives > 0 else float("nan")


def f1(r: Ranked, w: Floats) -> float:
    """Harmonic mean of precision and recall."""
    true = (w * r.y * r.named).sum()
    named, positives = (w * r.named).sum(), (w * r.y).sum()
    return float(2 * true / (named + positives)) if named + positives > 0 else float("nan")


def mae(r: Ranked, w: Floats) -> float:
    """Mean absolute error, in the amount's unit."""
    return float(np.average(np.abs(r.p - r.y), weights=w))


def rmse(r: Ranked, w: Floats) -> float:
    """Root of the mean squared error, in the amount's unit."""
    return float(np.sqrt(np.average((r.p - r.y) ** 2, weights=w)))


def spearman(r: Ranked, w: Floats) -> float:
    """Correlation of the ranks of answer and amount, ties sharing their mean rank.

    One answer for everybody ranks nothing: 0.
    """
    order, last = r.by_label
    a, b = _mid_ranks(r.last, w), np.empty(len(w))
    b[order] = _mid_ranks(last, w[order])
    a, b = a - np.average(a, weights=w), b - np.average(b, weights=w)
    own, truth = (w * a * a).sum(), (w * b * b).sum()
    if truth <= 0:
        return float("nan")
    return float((w * a * b).sum() / np.sqrt(own * truth)) if own > 0 else 0.0


def gini(r: Ranked, w: Floats) -> float:
    """Normalised Gini: how far the answers concentrate the amounts, over how far these would.

    1 = the order of the amounts themselves, 0 = any order.
    """
    order, last = r.by_label
    best = _concentration(r.y[order], w[order], last)
    return _concentration(r.y, w, r.last) / best if best > 0 else float("nan")


def total_ratio(r: Ranked, w: Floats) -> float:
    """Sum of the answers over the sum of the amounts; 1 = right in total."""
    total = (w * r.y).sum()
    return float((w * r.p).sum() / total) if total > 0 else float("nan")


def capture_at_10(r: Ranked, w: Floats) -> float:
    """Share of the whole amount that the tenth with the highest answers has."""
    cumulated, total = np.cumsum(w), (w * r.y).sum()
    inside = np.clip(0.1 * cumulated[-1] - (cumulated - w), 0, w)
    return float((inside * r.y).sum() / total) if total > 0 else float("nan")


def mean_value(r: Ranked, w: Floats) -> float:
    """Mean answer, to be held against the mean amount."""
    return float(np.average(r.p, weights=w))


_EVENT = (
    average_precision, roc_auc, log_loss, brier, ece, lift_at_10,
    accuracy, precision, recall, f1, mean_probability,
)  # fmt: skip
_AMOUNT = (mae, rmse, spearman, gini, capture_at_10, total_ratio, mean_value)
METRICS: dict[str, Metric] = {f.__name__: f for f in (*_EVENT, *_AMOUNT)}
OF_KIND: dict[Kind, tuple[str, ...]] = {
    "event": tuple(f.__name__ for f in _EVENT),
    "amount": tuple(f.__name__ for f in _AMOUNT),
}
"""Metrics that answers to a kind of question are judged by."""
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "mae", "rmse"})
UNDIRECTED = frozenset({"mean_probability", "mean_value", "total_ratio"})
"""Neither more nor less of them is better."""


def customer_weights(customers: NDArray[np.int64], repeats: int, seed: int) -> NDArray[np.float64]:
    """Bootstrap weights of shape (repeats, n_rows): customers are drawn with all their rows.

    The order of the rows decides who is drawn; the customers' numbers do not.
    """
    index, people = pd.factorize(customers)
    n = len(people)
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


def _mid_ranks(last: NDArray[np.intp], w: Floats) -> Floats:
    """For rows in order: weight above plus half the weight of the run of equal values."""
    reached = np.cumsum(w)[last]
    middle = (reached + np.append(0.0, reached[:-1])) / 2
    ranks: Floats = np.repeat(middle, np.diff(last, prepend=-1))
    return ranks


def _concentration(y: Floats, w: Floats, last: NDArray[np.intp]) -> float:
    """Twice the area between the curve of gained amounts and the diagonal; runs are shared out."""
    people, gained = np.cumsum(w)[last], np.cumsum(w * y)[last]
    if gained[-1] <= 0:
        return 0.0
    area = np.trapezoid(np.append(0, gained) / gained[-1], np.append(0, people) / people[-1])
    return float(2 * area - 1)
