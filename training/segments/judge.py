"""What segments say of the test cutoff's customers, beside baselines and champion."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from training.contract import Floats
from training.gates import Compared
from training.metrics import Ranked, customer_weights, evaluate
from training.segments import quality
from training.segments.cells import Ints

OF_CUSTOMERS = ("buying_auc", "eta_squared", "eta_squared_log", "spend_told", "log_spend_told")
WITHOUT_CHAMPION = ("bootstrap_ari", "relearned_ari", "stayed")
METRICS = (*OF_CUSTOMERS, *WITHOUT_CHAMPION, "smallest_share", "segments")
CATEGORIES = "eta_squared_categories"
UNDIRECTED = frozenset({"segments", "smallest_share", "stayed", "relearned_ari"})
MEANING = {
    "buying_auc": "ROC-AUC of buying in the next period, by rates of segments learned before",
    "eta_squared": "share of the next period's spend that lies between segments",
    "eta_squared_log": "the same of log(1 + spend), which single customers do not decide",
    CATEGORIES: "the same of log(1 + spend) by product category, where the source has them",
    "spend_told": "squared correlation of spend with means of segments learned before",
    "log_spend_told": "the same of log(1 + spend)",
    "bootstrap_ari": "adjusted Rand index of refits on resampled customers, on the test customers",
    "relearned_ari": "the same of what is learned one cutoff earlier",
    "stayed": "share of customers in the same segment at the next teaching cutoff",
    "smallest_share": "share of customers in the smallest segment",
    "segments": "segments with customers",
}


def compare(
    taught: pd.DataFrame,
    test: pd.DataFrame,
    refits: pd.DataFrame,
    once: Mapping[str, Mapping[str, float]],
    repeats: int,
    seed: int,
    by_category: Floats | None = None,
) -> Compared:
    """Every answer on the same customers with the same bootstrap draws.

    Parameters
    ----------
    taught, test
        By customer: ``spend`` of the period after the cutoff, and a column of labels per answer.
    refits
        Adjusted Rand indices of refits, a column per answer that was refitted.
    once
        Answer -> further metrics, without a distribution.
    by_category
        Spend of the test's period by product category, shape (n_rows, n_categories), if known.
    """
    customers = test["customer_id"].to_numpy(np.int64)
    weights = customer_weights(customers, repeats, seed)
    names = [n for n in test.columns if n not in ("customer_id", "spend")]
    draws: dict[str, dict[str, Floats]] = {}
    for name in names:
        draws[name] = of_customers(
            (taught[name].to_numpy(np.int64), taught["spend"].to_numpy(np.float64)),
            (test[name].to_numpy(np.int64), test["spend"].to_numpy(np.float64)),
            weights,
        )
        if by_category is not None:
            everything = np.vstack([np.ones(len(test)), weights])
            labels = test[name].to_numpy(np.int64)
            draws[name][CATEGORIES] = quality.explained_by_category(labels, by_category, everything)
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, len(refits), (repeats, len(refits)))
    for name in refits.columns:
        values = refits[name].to_numpy(np.float64)
        draws[name]["bootstrap_ari"] = np.append(values.mean(), values[picked].mean(axis=1))
    for name, metrics in once.items():
        draws[name] |= {metric: np.full(repeats + 1, value) for metric, value in metrics.items()}
    return Compared(draws=draws, lower_is_better=frozenset(), undirected=UNDIRECTED)


def of_customers(
    taught: tuple[Ints, Floats], test: tuple[Ints, Floats], weights: Floats
) -> dict[str, Floats]:
    """Metric -> array (1 + n_draws,), the value first; weights of shape (n_draws, n_rows)."""
    (before, spent), (now, spend) = taught, test
    k = int(max(before.max(), now.max())) + 1
    everything = np.vstack([np.ones(len(now)), weights])
    bought = (spend > 0).astype(np.float64)
    rates = quality.rates(before, (spent > 0).astype(np.float64), k)
    ranked = Ranked.of(bought, rates[now], 0.0)
    sizes = np.bincount(now)
    logs = quality.rates(before, np.log1p(spent), k)[now]
    return {
        "buying_auc": evaluate(ranked, weights, ("roc_auc",))["roc_auc"],
        "eta_squared": quality.explained(now, spend, everything),
        "eta_squared_log": quality.explained(now, np.log1p(spend), everything),
        "spend_told": _correlated(quality.rates(before, spent, k)[now], spend, everything),
        "log_spend_told": _correlated(logs, np.log1p(spend), everything),
        "smallest_share": np.full(len(everything), sizes[sizes > 0].min() / len(now)),
        "segments": np.full(len(everything), float((sizes > 0).sum())),
    }


def _correlated(said: Floats, y: Floats, W: Floats) -> Floats:
    """Squared correlation under each row of weights."""
    total = W.sum(axis=1)
    a, b = W @ said / total, W @ y / total
    both = W @ (said * y) / total - a * b
    spread = (W @ said**2 / total - a**2) * (W @ y**2 / total - b**2)
    found: Floats = np.divide(both**2, spread, out=np.zeros_like(both), where=spread > 0)
    return found
