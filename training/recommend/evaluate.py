"""How answers compare: all on the same customers, full ranking, bootstrap over customers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from training.contract import Floats
from training.gates import Compared
from training.metrics import customer_weights
from training.recommend.asof import AsOf
from training.recommend.catalogue import Demand
from training.recommend.histories import Histories, Ints
from training.recommend.makers import Maker
from training.recommend.metrics import MEASURES, hits, measure, top

AT = (5, 10, 20)
LISTS = ("all", "repeat", "discovery")
GROUPS = (*LISTS, "cold")
"""``cold``: the list of everything, for customers who came once."""
BEYOND = ("coverage_at_10", "novelty_at_10", "diversity_at_10", "popularity_at_10")
METRICS = (*(f"{g}_{m}_at_{k}" for g in GROUPS for m in MEASURES for k in AT), *BEYOND)
UNDIRECTED = frozenset(BEYOND)


def maker_lists(maker: Maker, past: Histories, offered: np.ndarray, k: int) -> dict[str, Ints]:
    """The lists of one maker alone, over the whole catalogue."""
    made: dict[str, list[Ints]] = {name: [] for name in LISTS}
    for _, some in past.shards(256):
        score = np.where(offered, maker.score(some), -np.inf)
        owned = some.matrix().toarray() > 0
        for name, kept in (("all", None), ("repeat", owned), ("discovery", ~owned)):
            made[name].append(top(score if kept is None else np.where(kept, score, -np.inf), k))
    return {name: np.vstack(parts) for name, parts in made.items()}


def measured(lists: Mapping[str, Ints], seen: AsOf) -> dict[str, Floats]:
    """Metric -> a number per customer, NaN where a customer says nothing of it."""
    owned = seen.past.matrix()
    owned.data[:] = 1.0
    again = seen.truth.multiply(owned).tocsr()
    new = (seen.truth - again).tocsr()
    new.eliminate_zeros()
    cold = np.bincount(_basket_owner(seen.past), minlength=len(seen.past)) <= 1
    truths = {
        "all": (seen.truth, seen.beyond), "repeat": (again, np.zeros_like(seen.beyond)),
        "discovery": (new, seen.beyond),
    }  # fmt: skip
    made: dict[str, Floats] = {}
    for name, (truth, beyond) in truths.items():
        hit = hits(lists[name], truth)
        relevant = np.asarray(truth.sum(axis=1)).ravel().astype(np.int64) + beyond
        for k in AT:
            for metric, values in measure(hit, relevant, k).items():
                made[f"{name}_{metric}_at_{k}"] = values
                if name == "all":
                    made[f"cold_{metric}_at_{k}"] = np.where(cold, values, np.nan)
    return made


def _basket_owner(past: Histories) -> Ints:
    return past.customer[np.flatnonzero(np.diff(past.basket, prepend=-1))]


def beyond_accuracy(
    lists: Ints, demand: Demand, offered: np.ndarray, alike: sp.csr_matrix
) -> dict[str, float]:
    """What accuracy does not say of lists of 10, shape (n_customers, at least 10).

    coverage
        Share of the offered items that are on any list.
    novelty
        Mean self-information ``-log2(buyers / customers)`` of listed items (Castells et al. 2015).
    diversity
        1 - mean cosine ``alike`` of two items of a list.
    popularity
        Mean rank by buyers of listed items, as a share of the offered; 0 = only the most bought.
    """
    some = lists[:, :10]
    listed = some[some >= 0]
    if not len(listed):
        return dict.fromkeys(BEYOND, 0.0)
    buyers = np.maximum(demand.buyers, 1)
    rank = np.empty(len(buyers))
    rank[np.argsort(-demand.buyers, kind="stable")] = np.arange(len(buyers))
    pairs = [(i, j) for i in range(some.shape[1]) for j in range(i)]
    left, right = (some[:, [p[side] for p in pairs]].ravel() for side in (0, 1))
    both = (left >= 0) & (right >= 0)
    cosine = np.asarray(alike[left[both], right[both]]).ravel() if both.any() else np.zeros(1)
    return {
        "coverage_at_10": len(np.unique(listed)) / max(int(offered.sum()), 1),
        "novelty_at_10": float(-np.log2(buyers[listed] / buyers.max()).mean()),
        "diversity_at_10": float(1 - cosine.mean()),
        "popularity_at_10": float(rank[listed].mean() / max(int(offered.sum()), 1)),
    }


@dataclass(frozen=True)
class Answered:
    """What one answer's lists are worth."""

    by_customer: dict[str, Floats]
    once: dict[str, float]


def compare(answers: Mapping[str, Answered], customers: Ints, repeats: int, seed: int) -> Compared:
    """Means over customers with the same bootstrap draws for every answer."""
    weights = customer_weights(customers, repeats, seed)
    everything = np.vstack([np.ones(len(customers)), weights])
    draws: dict[str, dict[str, Floats]] = {}
    for name, answer in answers.items():
        draws[name] = {}
        for metric, values in answer.by_customer.items():
            told = ~np.isnan(values)
            total = everything @ told
            mean = everything @ np.where(told, values, 0.0) / np.maximum(total, 1e-12)
            draws[name][metric] = np.where(total > 0, mean, 0.0)
        for metric, value in answer.once.items():
            draws[name][metric] = np.full(len(everything), value)
    return Compared(draws=draws, lower_is_better=frozenset(), undirected=UNDIRECTED)
